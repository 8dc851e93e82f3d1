// The one filter grammar in the browser: `evaluate(filter, record, vars)` over JSON values.
//
// The meaning is written in app/core/filters/nodes.py; tests/unit/core/filters/vectors.json holds SQL, Python and this
// file to it. The server decides; this only mirrors it, for conditions of forms and lists.
//
// vars: { now, today, business_date, me, my_roles, my_nodes, node_paths, types }
//   types  path -> text|number|boolean|date|instant|time|duration|id|set|opaque, and "lines" for a step to child lines
//          (app.core.filters.value_types). Without it a type is guessed from how both values look.

export class FilterError extends Error {}

const ORDER = {
  lt: (sign) => sign < 0,
  lte: (sign) => sign <= 0,
  gt: (sign) => sign > 0,
  gte: (sign) => sign >= 0,
};
const VARIABLES = ["now", "today", "business_date", "me", "my_roles", "my_nodes"];
const VARIABLE = /^\$([a-z_]+)(?:([+-])(P.*))?$/;
const NUMBER = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?\s*$/;
const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const INSTANT = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?(Z|[+-]\d{2}:?\d{2})$/;
const TIME = /^(\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?$/;
const DURATION = /^(-)?P(?=\d|T\d)(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$/;
const DAY = 86_400_000_000n;

/** Say whether the record passes the filter. Throws FilterError when the filter cannot be read. */
export function evaluate(filter, record, vars = {}) {
  if (filter === null || filter === undefined) return true;
  if (!isObject(filter)) throw new FilterError('a filter is an object such as {"status": "ready"}');
  return Object.entries(filter).every(([name, value]) => {
    if (name === "not") return !evaluate(value, record, vars);
    if (name === "and") return list(value, name).every((part) => evaluate(part, record, vars));
    if (name === "or") return list(value, name).some((part) => evaluate(part, record, vars));
    return evaluateTerm(name, isObject(value) ? value : { eq: value }, record, vars);
  });
}

function evaluateTerm(path, operators, record, vars) {
  const tests = Object.entries(operators);
  if (tests.length === 0) throw new FilterError(`${path}: name an operator`);
  for (const [operator, operand] of tests) {
    if (operand === null || operand === undefined) throw new FilterError(`${path}: compare with null by is_null`);
    if (operator === "is_null" && typeof operand !== "boolean") throw new FilterError(`${path}: is_null takes true or false`);
  }
  const term = { path, steps: path.split("."), tests, vars, types: vars.types ?? {} };
  return walk(term, 0, record);
}

function walk(term, index, holder) {
  const held = own(holder, term.steps[index]);
  if (index === term.steps.length - 1) return testAll(term, held ?? null);
  if (isLines(term, index) || Array.isArray(held)) {
    return (held ?? []).some((line) => !isDeleted(line) && walk(term, index + 1, line));
  }
  if (held === null || held === undefined) return whenAbsent(term, index);
  if (!isObject(held)) throw new FilterError(`${term.path}: the record of ${term.steps[index]} is needed and was not given`);
  return isDeleted(held) ? whenAbsent(term, index) : walk(term, index + 1, held);
}

function whenAbsent(term, index) {
  const linesFollow = term.steps.slice(0, -1).some((_, step) => step > index && isLines(term, step));
  return !linesFollow && testAll(term, null);
}

function isLines(term, index) {
  return own(term.types, term.steps.slice(0, index + 1).join(".")) === "lines";
}

function testAll(term, held) {
  const type = own(term.types, term.path);
  const value = leafValue(held, type);
  return term.tests.every(([operator, operand]) => test(operator, operand, value, type, term.vars));
}

/** Amounts compare by their amount, references by their id. */
function leafValue(held, type) {
  if (!isObject(held) || type === "opaque") return held;
  if (Object.hasOwn(held, "amount")) return held.amount ?? null;
  return Object.hasOwn(held, "id") ? (held.id ?? null) : held;
}

function test(operator, operand, value, type, vars) {
  switch (operator) {
    case "is_null":
      return (value === null) === operand;
    case "ne":
      return !test("eq", operand, value, type, vars);
    case "nin":
      return !test("in", operand, value, type, vars);
    case "in":
      return value !== null && bindList(operand, vars).some((one) => compare(value, one, type) === 0);
    case "under":
      return value !== null && inTree(value, operand, vars, (node, given) => isBelow(node, given));
    case "ancestor_of":
      return value !== null && inTree(value, operand, vars, (node, given) => isBelow(given, node));
    case "between": {
      const [low, high] = list(operand, operator).map((one) => bind(one, vars));
      if (value === null || low === null || high === null) return false;
      return compare(value, low, type) >= 0 && compare(value, high, type) <= 0;
    }
  }
  const bound = Array.isArray(operand) ? operand.map((one) => bind(one, vars)) : bind(operand, vars);
  if (operator === "eq") return value !== null && bound !== null && isEqual(value, bound, type);
  if (operator === "contains") return value !== null && contains(value, bound);
  if (operator === "starts_with") return value !== null && simpleLower(value).startsWith(simpleLower(bound));
  if (!Object.hasOwn(ORDER, operator)) throw new FilterError(`there is no operator ${operator}`);
  return value !== null && bound !== null && ORDER[operator](compare(value, bound, type));
}

function isEqual(value, bound, type) {
  if (!Array.isArray(value)) return compare(value, bound, type) === 0;
  return Array.isArray(bound) && new Set(bound).size === new Set(value).size && bound.every((one) => value.includes(one));
}

function contains(value, bound) {
  return Array.isArray(value) ? value.includes(bound) : simpleLower(value).includes(simpleLower(bound));
}

/** Letter by letter, as the database does it: no letter becomes two, and no sigma looks around. */
function simpleLower(text) {
  return Array.from(String(text), (letter) => (letter === "\u0130" ? "i" : letter.toLowerCase())).join("");
}

function inTree(node, operand, vars, related) {
  if (!isObject(vars.node_paths)) throw new FilterError("node_paths are needed to place a record in its tree");
  const ownPath = own(vars.node_paths, node);
  if (ownPath === undefined) return false;
  return bindList(operand, vars).some((one) => {
    const given = own(vars.node_paths, one);
    return given !== undefined && related(ownPath, given);
  });
}

function isBelow(path, top) {
  return path === top || path.startsWith(`${top}.`);
}

// Variables

function bindList(operand, vars) {
  return (Array.isArray(operand) ? operand : [operand]).flatMap((one) => bind(one, vars) ?? []);
}

/** The value, or what the variable in it stands for; null where it stands for nothing. */
function bind(value, vars) {
  if (typeof value !== "string" || value[0] !== "$") return value;
  if (value[1] === "$") return value.slice(1);
  if (!/^\$[\p{L}_]/u.test(value)) return value;
  const [, name, sign, offset] = VARIABLE.exec(value) ?? [];
  if (!VARIABLES.includes(name)) throw new FilterError(`there is no variable ${value}; for the text itself write $${value}`);
  const bound = own(vars, name) ?? null;
  if (bound === null) return name.startsWith("my_") ? [] : null;
  if (bound instanceof Set) return [...bound];
  const plain = bound instanceof Date ? bound.toISOString() : bound;
  return offset === undefined ? plain : shifted(plain, name, sign, offset);
}

function shifted(plain, name, sign, offset) {
  const length = durationMicros(offset) * (sign === "-" ? -1n : 1n);
  if (name === "now") return instantMicros(plain) + length;
  const [, year, month, day] = DATE.exec(plain) ?? [];
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day) + Number(length / DAY));
  return date.toISOString().slice(0, 10);
}

// Comparing

/** -1, 0 or 1. */
function compare(a, b, type) {
  const [x, y] = comparable(a, b, type ?? guess(a, b));
  if (x === y) return 0;
  return x < y ? -1 : 1;
}

function comparable(a, b, type) {
  switch (type) {
    case "number":
      return scaled(decimal(a), decimal(b));
    case "instant":
      return [instantMicros(a), instantMicros(b)];
    case "date":
      return [checkedDate(a), checkedDate(b)];
    case "time":
      return [timeMicros(a), timeMicros(b)];
    case "duration":
      return [durationMicros(a), durationMicros(b)];
    case "id":
      return [String(a).toLowerCase(), String(b).toLowerCase()];
    default:
      return [a, b];
  }
}

function guess(a, b) {
  if (typeof a === "number" || typeof b === "number") return "number";
  if (typeof a === "bigint" || typeof b === "bigint") return "instant";
  const both = (pattern) => pattern.test(a) && pattern.test(b);
  if (both(INSTANT)) return "instant";
  if (both(DURATION)) return "duration";
  if (both(TIME)) return "time";
  return both(NUMBER) && /\d/.test(a) && /\d/.test(b) ? "number" : "text";
}

/** An exact decimal as [digits, number of decimals]. */
function decimal(value) {
  const match = NUMBER.exec(String(value));
  if (match === null || !(match[2] || match[3])) throw new FilterError(`${value} is not a number`);
  const [, sign, whole, fraction = "", exponent = "0"] = match;
  const digits = BigInt((whole || "0") + fraction) * (sign === "-" ? -1n : 1n);
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? [digits, scale] : [digits * 10n ** BigInt(-scale), 0];
}

function scaled([a, aScale], [b, bScale]) {
  const scale = Math.max(aScale, bScale);
  return [a * 10n ** BigInt(scale - aScale), b * 10n ** BigInt(scale - bScale)];
}

function checkedDate(value) {
  if (!DATE.test(value)) throw new FilterError(`${value} is not a date such as 2026-10-30`);
  return value;
}

function instantMicros(value) {
  if (typeof value === "bigint") return value;
  const match = INSTANT.exec(value instanceof Date ? value.toISOString() : value);
  if (match === null) throw new FilterError(`${value} is not an instant such as 2026-10-30T16:00:00Z`);
  const [, date, hours, minutes, seconds, fraction, zone] = match;
  const [, year, month, day] = DATE.exec(date);
  const midnight = new Date(0).setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const clock = micros(hours, minutes, seconds, fraction);
  if (zone === "Z") return BigInt(midnight) * 1000n + clock;
  const offset = micros(zone.slice(1, 3), zone.slice(-2));
  return BigInt(midnight) * 1000n + clock - (zone[0] === "-" ? -offset : offset);
}

function timeMicros(value) {
  const match = TIME.exec(value);
  if (match === null) throw new FilterError(`${value} is not a time of day such as 16:30`);
  return micros(...match.slice(1));
}

function micros(hours, minutes, seconds = "0", fraction = "") {
  const whole = (BigInt(hours) * 60n + BigInt(minutes)) * 60n + BigInt(seconds ?? "0");
  return whole * 1_000_000n + BigInt((fraction ?? "").slice(0, 6).padEnd(6, "0"));
}

function durationMicros(value) {
  const match = DURATION.exec(value);
  if (match === null) throw new FilterError(`${value} is not a duration such as PT1H30M`);
  const [days, hours, minutes, seconds] = match.slice(2).map((part) => BigInt(part ?? "0"));
  const length = days * DAY + ((hours * 60n + minutes) * 60n + seconds) * 1_000_000n;
  return match[1] ? -length : length;
}

// Objects

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isDeleted(record) {
  return (own(record, "deleted_at") ?? null) !== null;
}

/** Only what the record itself holds: a path such as `constructor` finds nothing. */
function own(holder, name) {
  return Object.hasOwn(holder, name) ? holder[name] : undefined;
}

function list(value, name) {
  if (!Array.isArray(value)) throw new FilterError(`${name} takes a list`);
  return value;
}
