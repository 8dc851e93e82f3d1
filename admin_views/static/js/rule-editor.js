// The editor of a rule: its table, its test cases and one input to try, checked by the server while they are written.
import { send } from "./csrf.js";
import { columnDialog } from "./rule-columns.js";
import { Grid, element, icon } from "./rule-grid.js";
import { toast } from "./toasts.js";

const root = document.querySelector("[data-rule]");
const given = JSON.parse(root.dataset.rule);
const isTable = given.kind === "decision_table";
const state = {
  content: given.found.content,
  tests: given.tests,
  found: given.found,
  tried: {},
  rowVersion: given.row_version,
  saved: "",
  generation: 0,
  chosen: null, // the case whose row is shown in the table
};
const past = [];
const future = [];

const id = () => `n${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
const snapshot = () => JSON.stringify({ content: state.content, tests: state.tests });
let last = snapshot();
state.saved = last;

const field = (name) => state.content.inputs.find((one) => one.name === name);
const typeLabel = (type) => given.types.find((one) => one.value === type)?.label ?? type;
const title = (one) => one.label || one.name.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
const columnTitle = (column) => {
  const named = field(column.expression);
  return column.label || (named ? title(named) : column.expression);
};
const part = (name) => root.querySelector(`[data-rule-${name}]`);

// -- the table ---------------------------------------------------------------------------------------------------------

const rows = () => state.content.rows;
const tableModel = {
  columns() {
    if (!isTable)
      return [{ key: "formula", title: "Formula", sub: "over the facts", kind: "then" }];
    const tests = state.content.columns.map((column) => ({
      key: column.id,
      title: columnTitle(column),
      sub: `${column.expression} · ${typeLabel(field(column.expression)?.type ?? column.type ?? "decimal")}`,
      kind: "if",
      edit: () => dialog.column(column),
    }));
    const answers = state.content.outputs.map((output) => ({
      key: `=${output.name}`,
      title: title(output),
      sub: typeLabel(output.type),
      kind: "then",
      edit: () => dialog.answer(output),
    }));
    return [...tests, ...answers, { key: "note", title: "Note", sub: "", kind: "note" }];
  },
  count: () => (isTable ? rows().length : state.content.outputs.length),
  name: (row) => (isTable ? String(row + 1) : title(state.content.outputs[row])),
  get(row, key) {
    if (!isTable) return state.content.formulas[state.content.outputs[row].name] ?? "";
    if (key === "note") return rows()[row].note ?? "";
    return (key.startsWith("=") ? rows()[row].answers[key.slice(1)] : rows()[row].tests[key]) ?? "";
  },
  set(row, key, text) {
    if (!isTable) state.content.formulas[state.content.outputs[row].name] = text;
    else if (key === "note") rows()[row].note = text;
    else if (key.startsWith("=")) rows()[row].answers[key.slice(1)] = text;
    else rows()[row].tests[key] = text;
  },
  mark(row, key) {
    const column = isTable ? key.replace(/^=/, "") : state.content.outputs[row].name;
    const place = isTable ? rows()[row].id : "";
    const wrong = state.found.findings.find(
      (one) => one.severity === "error" && one.row === place && one.column === column && (isTable || one.column),
    );
    const stopped = isTable && shown()?.rows?.find((one) => one.row === place)?.stopped === key;
    return { problem: wrong ? wrong.message.replace(/^Row \d+, “[^”]*”: /, "") : "", tone: stopped ? "stopped" : "" };
  },
  rowMark(row) {
    const hit = isTable && shown()?.matched.includes(rows()[row].id);
    return hit ? { tone: "hit", icon: "arrow-narrow-right", words: "this row answers" } : {};
  },
  changed,
};
if (isTable)
  Object.assign(tableModel, {
    add: (at) => rows().splice(at, 0, { id: id(), tests: {}, answers: {}, note: "" }),
    remove: (row) => rows().splice(row, 1),
    duplicate: (row) => rows().splice(row + 1, 0, { ...structuredClone(rows()[row]), id: id() }),
    move: (from, to) => rows().splice(to, 0, ...rows().splice(from, 1)),
  });

// What is pointed out in the table: the chosen case, or the input that is tried.
function shown() {
  if (state.chosen !== null) return state.found.results[state.chosen] ?? null;
  return state.found.trial;
}

// -- the cases ---------------------------------------------------------------------------------------------------------

const collects = () => state.content.hit_policy === "collect";
const expected = (test, name) =>
  Array.isArray(test.expected)
    ? test.expected.map((one) => one[name] ?? "").join(" | ")
    : (test.expected?.[name] ?? "");

function expect(test, name, text) {
  const texts = collects() ? text.split("|").map((one) => one.trim()) : [text];
  const list = (Array.isArray(test.expected) ? test.expected : [test.expected ?? {}]).map((one) => ({ ...one }));
  while (list.length < texts.length) list.push({});
  list.forEach((one, place) => {
    if (texts[place]) one[name] = texts[place];
    else delete one[name];
  });
  const filled = list.filter((one) => Object.keys(one).length);
  test.expected = filled.length ? (collects() ? filled : filled[0]) : null;
}

const casesModel = {
  columns: () => [
    { key: "label", title: "Case", sub: "", kind: "name" },
    ...state.content.inputs.map((one) => ({ key: one.name, title: title(one), sub: "given", kind: "if" })),
    ...state.content.outputs.map((one) => ({ key: `=${one.name}`, title: title(one), sub: "expected", kind: "then" })),
  ],
  count: () => state.tests.length,
  name: (row) => String(row + 1),
  get(row, key) {
    const test = state.tests[row];
    if (key === "label") return test.label;
    if (key.startsWith("=")) return String(expected(test, key.slice(1)));
    return written(test.input[key]);
  },
  set(row, key, text) {
    const test = state.tests[row];
    if (key === "label") test.label = text || `Case ${row + 1}`;
    else if (key.startsWith("=")) expect(test, key.slice(1), text);
    else if (text) test.input[key] = text;
    else delete test.input[key];
  },
  mark(row, key) {
    const result = state.found.results[row];
    return { problem: key === "label" && result && !result.passed && !state.found.errors ? result.problem : "" };
  },
  rowMark(row) {
    const result = state.found.results[row];
    if (!result || state.found.errors) return {};
    return result.passed
      ? { tone: "passed", icon: "circle-check", words: "passes" }
      : { tone: "failed", icon: "alert-circle", words: "fails" };
  },
  add: (at) => state.tests.splice(at, 0, { label: `Case ${state.tests.length + 1}`, input: {}, expected: null }),
  remove: (row) => state.tests.splice(row, 1),
  duplicate: (row) => {
    const copy = structuredClone(state.tests[row]);
    state.tests.splice(row + 1, 0, { ...copy, label: `${copy.label} 2` });
  },
  move: (from, to) => state.tests.splice(to, 0, ...state.tests.splice(from, 1)),
  changed,
  focused(row) {
    state.chosen = row;
    table.marks();
  },
};
const written = (value) => (Array.isArray(value) ? value.join(", ") : value === undefined || value === null ? "" : String(value));

// -- trying one input --------------------------------------------------------------------------------------------------

function drawTry() {
  const box = part("try");
  const names = state.content.inputs.map((one) => one.name).join();
  if (box.dataset.names !== names) {
    box.dataset.names = names;
    box.replaceChildren(...state.content.inputs.map(tryField));
  }
  const trial = state.found.trial;
  const out = part("answer");
  if (!trial) return out.replaceChildren(element("p", { className: "muted small", textContent: "Enter values to see the answer and the row that gives it." }));
  if (trial.problem) return out.replaceChildren(note("warn", trial.problem));
  if (!trial.answers.length) return out.replaceChildren(note("warn", "No row fits."));
  out.replaceChildren(
    ...trial.answers.map((answer, place) =>
      element(
        "dl",
        { className: "facts" },
        ...Object.entries(answer).map(([name, value]) =>
          element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value })),
        ),
        isTable
          ? element(
              "div",
              {},
              element("dt", { textContent: "Row" }),
              element("dd", { textContent: String(rows().findIndex((row) => row.id === trial.matched[place]) + 1) }),
            )
          : null,
      ),
    ),
    ...(isTable ? [traceWords(trial)] : []),
  );
}

function traceWords(trial) {
  const stopped = trial.rows.filter((row) => row.stopped).slice(0, 8);
  const words = stopped.map((row) => {
    const place = rows().findIndex((one) => one.id === row.row);
    const column = state.content.columns.find((one) => one.id === row.stopped);
    const cell = rows()[place]?.tests[row.stopped] ?? "";
    const value = written(trial.values[row.stopped]) || "nothing";
    return element("li", { textContent: `Row ${place + 1} does not fit: ${column ? columnTitle(column) : ""} is ${value}, not ${cell}` });
  });
  return element("ul", { className: "trace" }, ...words);
}

function tryField(one) {
  const box = element("label", { className: "s-field" }, element("span", { className: "s-label", textContent: title(one) }));
  const options = one.type === "choice" ? one.options : one.type === "boolean" ? ["yes", "no"] : null;
  const control = options
    ? element("select", { className: "s-input sm" }, element("option", { value: "" }), ...options.map((value) => element("option", { value, textContent: value })))
    : element("input", { className: "s-input sm", placeholder: one.type === "date" ? "2026-10-30" : "", autocomplete: "off" });
  control.value = state.tried[one.name] ?? "";
  control.addEventListener("input", () => {
    if (control.value.trim()) state.tried[one.name] = control.value.trim();
    else delete state.tried[one.name];
    state.chosen = null;
    check();
  });
  box.append(control);
  return box;
}

// -- findings, state, saving -------------------------------------------------------------------------------------------

const LOOKS = { error: "alert-circle", warning: "alert-triangle", info: "info-circle" };
function note(kind, text) {
  const name = { warn: "alert-triangle", error: "alert-circle" }[kind] ?? "info-circle";
  return element("div", { className: `s-note ${kind}` }, icon(name), element("div", { textContent: text }));
}

function drawFindings() {
  const list = part("findings");
  const items = state.found.findings.map((one) => {
    const words = [element("span", { textContent: one.message }), one.satisfy ? element("span", { className: "muted", textContent: ` ${one.satisfy}` }) : null];
    const row = rows().findIndex((candidate) => candidate.id === one.row);
    const open = element("button", { type: "button", className: "find" }, icon(LOOKS[one.severity]), element("span", {}, ...words.filter(Boolean)));
    open.addEventListener("click", () => show(one, row));
    return element("li", { className: one.severity }, open);
  });
  if (!items.length) items.push(element("li", { className: "ok" }, icon("circle-check"), "Nothing to correct."));
  list.replaceChildren(...items);
  const errors = state.found.findings.filter((one) => one.severity === "error").length;
  part("count").textContent = state.found.findings.length ? String(state.found.findings.length) : "";
  const { passed, results } = state.found;
  const tests = part("tests");
  const bad = errors || !results.length;
  tests.className = `st flat ${bad ? "warn" : passed === results.length ? "ok" : "breach"}`;
  tests.textContent = !results.length ? "no case yet" : errors ? "not run" : `${passed} of ${results.length} pass`;
  const why = errors ? "Correct the errors first." : !results.length ? "Add a test case first." : passed < results.length ? "A test case fails." : "";
  const publish = document.querySelector("[data-rule-publish]");
  if (publish) {
    publish.setAttribute("aria-disabled", why ? "true" : "false");
    publish.title = why;
  }
}

function show(one, row) {
  const key = state.content.outputs.some((output) => output.name === one.column) ? `=${one.column}` : one.column;
  if (isTable) {
    if (row >= 0) table.find(row, key);
    return;
  }
  const place = state.content.outputs.findIndex((output) => output.name === one.column);
  if (place >= 0) table.go(place, 0);
}

function drawFacts() {
  const used = new Set(state.content.columns.map((column) => column.expression));
  const list = isTable ? state.content.inputs.filter((one) => !used.has(one.name)) : state.content.inputs;
  part("facts").replaceChildren(
    ...list.map((one) => {
      const words = `${title(one)} · ${typeLabel(one.type)}`;
      const chip = element("button", { type: "button", className: "btn-s sm", textContent: words, disabled: !given.editable });
      chip.addEventListener("click", () => dialog.fact(one));
      return chip;
    }),
  );
  part("facts-line").hidden = isTable && !list.length;
  if (!isTable) part("outputs").replaceChildren(...state.content.outputs.map((one) => {
    const chip = element("button", { type: "button", className: "btn-s sm", textContent: `${title(one)} · ${typeLabel(one.type)}`, disabled: !given.editable });
    chip.addEventListener("click", () => dialog.answer(one));
    return chip;
  }));
  const policy = part("policy");
  if (policy) policy.value = state.content.hit_policy;
}

function draw() {
  table.draw();
  cases.draw();
  drawFacts();
  drawTry();
  drawFindings();
  part("empty").hidden = tableModel.count() > 0;
  part("no-cases").hidden = state.tests.length > 0;
  drawSaved();
}

function drawSaved() {
  const word = document.querySelector("[data-rule-saved]");
  if (word) word.textContent = snapshot() === state.saved ? "Saved" : "Not saved yet";
}

function changed(what) {
  state.generation += 1;
  past.push(last);
  if (past.length > 200) past.shift();
  future.length = 0;
  last = snapshot();
  if (what !== "cell") draw();
  drawSaved();
  check();
}

function undo(from, to) {
  if (!from.length) return;
  to.push(last);
  last = from.pop();
  Object.assign(state, JSON.parse(last));
  state.generation += 1;
  draw();
  check();
}

let timer = 0;
function check() {
  clearTimeout(timer);
  timer = setTimeout(look, 300);
}

async function look() {
  const asked = ++look.number;
  const { generation } = state;
  const tried = Object.keys(state.tried).length ? state.tried : null;
  try {
    const found = await send(given.check, { method: "POST", json: { content: state.content, tests: state.tests, tried } });
    if (asked !== look.number) return;
    state.found = found;
    if (generation === state.generation && !table.editor && !cases.editor) take(found.content);
    else {
      table.marks();
      cases.marks();
    }
    drawTry();
    drawFindings();
  } catch (error) {
    if (asked === look.number) part("findings").replaceChildren(element("li", { className: "error" }, note("error", error.message)));
  }
}
look.number = 0;

// The cells as the server writes them; where the person is, stays.
function take(content) {
  const focus = document.activeElement?.closest?.("[data-cell]") && [table, cases].find((one) => one.table.contains(document.activeElement));
  const clean = snapshot() === state.saved;
  if (given.editable) state.content = content;
  last = snapshot();
  if (clean) state.saved = last;
  table.draw();
  cases.draw();
  if (focus) focus.cell(focus.at.row, focus.at.column)?.focus();
  drawSaved();
}

async function save() {
  for (const one of [table, cases]) one.close(true, true);
  const sent = snapshot();
  try {
    const answer = await send(given.save, {
      method: "POST",
      json: { content: state.content, tests: state.tests, row_version: state.rowVersion },
    });
    state.rowVersion = answer.row_version;
    state.saved = sent;
    for (const hidden of document.querySelectorAll('input[name="row_version"]')) hidden.value = answer.row_version;
    drawSaved();
    toast("ok", `Draft ${answer.number} saved.`);
    return true;
  } catch (error) {
    toast("error", error.message);
    return false;
  }
}

// -- putting it together -----------------------------------------------------------------------------------------------

const options = { editable: given.editable };
const table = new Grid(part("table"), tableModel, { ...options, label: isTable ? "Decision table" : "Formulas" });
const cases = new Grid(part("cases"), casesModel, { ...options, label: "Test cases" });
const dialog = columnDialog({ given, state, id, changed: () => changed("columns") });
draw();

root.addEventListener("focusin", (event) => {
  if (!part("cases").contains(event.target) && state.chosen !== null && part("table").contains(event.target) === false) {
    state.chosen = null;
    table.marks();
  }
});
document.querySelector("[data-rule-save]")?.addEventListener("click", save);
document.querySelector("[data-rule-publish]")?.addEventListener("click", async (event) => {
  if (event.currentTarget.getAttribute("aria-disabled") === "true") return;
  if (snapshot() === state.saved || (await save())) document.getElementById("publish-dialog").showModal();
});
for (const [name, act] of Object.entries({
  "add-row": () => table.act("add", tableModel.count()),
  "add-case": () => cases.act("add", casesModel.count()),
  "add-column": () => dialog.column(null),
  "add-answer": () => dialog.answer(null),
  "add-fact": () => dialog.fact(null),
  "keep-case": () => {
    const answers = state.found.trial?.answers ?? [];
    const test = { label: `Case ${state.tests.length + 1}`, input: { ...state.tried }, expected: null };
    const list = answers.map((one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== "nothing")));
    test.expected = list.length ? (collects() ? list : list[0]) : null;
    state.tests.push(test);
    changed("case");
  },
}))
  root.querySelector(`[data-rule-${name}]`)?.addEventListener("click", act);
part("policy")?.addEventListener("change", (event) => {
  state.content.hit_policy = event.target.value;
  changed("policy");
});
document.addEventListener("keydown", (event) => {
  if (!given.editable || !(event.ctrlKey || event.metaKey)) return;
  const typing = event.target instanceof Element && event.target.matches("input, textarea, select");
  if (event.key === "s") save();
  else if (event.key === "z" && !typing) event.shiftKey ? undo(future, past) : undo(past, future);
  else if (event.key === "y" && !typing) undo(future, past);
  else return;
  event.preventDefault();
});
window.addEventListener("beforeunload", (event) => {
  if (given.editable && snapshot() !== state.saved && !document.querySelector("form[data-sent]")) event.preventDefault();
});
