// A condition as rows of field, operator and value, joined by and/or. It is kept as JSON of the filter grammar in a textarea, which
// is also where a condition is edited that rows cannot say (one inside another, or `not`).
import { readValue, typed, valueInput } from "./filter-builder.js";

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const OPERATORS = { eq: "is", ne: "is not", lt: "is below", lte: "is at most", gt: "is above", gte: "is at least" };

// The rows of a condition: {join, rows: [{path, operator, value}]}, or null where it is not flat.
export function rowsOf(condition) {
  if (condition === null || typeof condition !== "object" || Array.isArray(condition)) return null;
  const keys = Object.keys(condition);
  if (!keys.length) return { join: "and", rows: [] };
  const join = keys.length === 1 && (keys[0] === "and" || keys[0] === "or") ? keys[0] : null;
  const parts = join ? condition[join] : [condition];
  if (!Array.isArray(parts)) return null;
  const rows = [];
  for (const part of parts) {
    if (part === null || typeof part !== "object") return null;
    for (const [path, tests] of Object.entries(part)) {
      if (["and", "or", "not"].includes(path)) return null;
      const plain = tests === null || typeof tests !== "object" || Array.isArray(tests);
      const entries = plain ? [["eq", tests]] : Object.entries(tests);
      if (join === "or" && entries.length > 1) return null;
      for (const [operator, value] of entries) rows.push({ path, operator, value });
    }
  }
  return { join: join ?? "and", rows };
}

export function conditionOf(join, rows) {
  const parts = rows.map(({ path, operator, value }) => ({ [path]: { [operator]: value } }));
  if (!parts.length) return "";
  return JSON.stringify(join === "and" && parts.length === 1 ? parts[0] : { [join]: parts });
}

class Builder {
  constructor(box, fields) {
    this.box = box;
    this.fields = fields;
    this.titles = JSON.parse(box.dataset.titles || "{}");
    this.text = box.querySelector("[data-condition-text]");
    this.place = box.querySelector("[data-condition-rows]");
    this.foot = box.querySelector("[data-condition-foot]");
    this.joins = box.querySelector("[data-condition-join]");
    this.rows = [];
    this.join = "and";
    box.querySelector("[data-condition-add]").addEventListener("click", () => {
      this.add({ path: this.fields[0]?.path, operator: null, value: undefined }).focus();
      this.write();
    });
    this.joins.addEventListener("click", (event) => {
      const join = event.target.closest("[data-join]")?.dataset.join;
      if (join) this.join = join;
      this.write();
    });
    this.text.addEventListener("change", () => this.read());
    this.read();
  }

  read() {
    let found = null;
    try {
      found = rowsOf(this.text.value.trim() ? JSON.parse(this.text.value) : {});
    } catch {
      /* it is corrected where it stands, as text */
    }
    const known = found?.rows.every((row) => this.fields.some((field) => field.path === row.path));
    this.place.replaceChildren();
    this.rows = [];
    this.foot.hidden = !known;
    if (!known) {
      this.box.querySelector("details").open = true;
      return;
    }
    this.join = found.join;
    for (const row of found.rows) this.add(row);
    this.mark();
  }

  add({ path, operator, value }) {
    const field = make("select", { className: "s-input sm", ariaLabel: "Field" });
    for (const one of this.fields) field.append(make("option", { value: one.path }, one.label));
    if (path) field.value = path;
    const verb = make("select", { className: "s-input sm", ariaLabel: "Condition" });
    const holder = make("span", { className: "lc-cond-value" });
    const remove = make("button", { className: "btn-s sm sq ghost", type: "button", ariaLabel: "Remove the condition" });
    remove.append(make("i", { className: "ti ti-x", ariaHidden: "true" }));
    const element = make("div", { className: "lc-cond-row" }, field, verb, holder, remove);
    const row = { value: () => undefined, path: () => field.value, operator: () => verb.value };
    const showField = () => {
      const chosen = this.fields.find((one) => one.path === field.value);
      verb.replaceChildren(...chosen.operators.map((one) => make("option", { value: one.code }, one.label)));
      if (operator && !chosen.operators.some((one) => one.code === operator))
        verb.append(make("option", { value: operator }, OPERATORS[operator] ?? operator));
      if (operator) verb.value = operator;
      this.showValue(row, chosen, verb, holder, value);
    };
    field.addEventListener("change", () => {
      operator = null;
      value = undefined;
      showField();
      this.write();
    });
    verb.addEventListener("change", () => {
      this.showValue(row, this.fields.find((one) => one.path === field.value), verb, holder, undefined);
      this.write();
    });
    holder.addEventListener("input", () => this.write());
    holder.addEventListener("change", () => this.write());
    remove.addEventListener("click", () => {
      this.rows.splice(this.rows.indexOf(row), 1);
      element.remove();
      this.box.querySelector("[data-condition-add]").focus();
      this.write();
    });
    this.rows.push(row);
    this.place.append(element);
    showField();
    return field;
  }

  showValue(row, field, verb, holder, value) {
    const takes = field.operators.find((one) => one.code === verb.value)?.takes ?? "one";
    if (takes === "none") {
      const select = make("select", { className: "s-input sm", ariaLabel: "Value" });
      select.append(make("option", { value: "true" }, "Yes"), make("option", { value: "false" }, "No"));
      select.value = String(value ?? true);
      holder.replaceChildren(select);
      row.value = () => select.value === "true";
      return;
    }
    if (takes === "many" || (takes === "two" && Array.isArray(value))) {
      if (takes === "many" && field.options) {
        const boxes = field.options.map((option) => {
          const input = make("input", { type: "checkbox", value: option.value });
          input.checked = Array.isArray(value) && value.includes(option.value);
          return make("label", { className: "s-check" }, input, option.label);
        });
        holder.replaceChildren(...boxes);
        row.value = () => [...holder.querySelectorAll("input:checked")].map((box) => box.value);
        return;
      }
      const input = make("input", { className: "s-input sm", ariaLabel: "Values, divided by commas" });
      input.placeholder = takes === "two" ? "from, to" : "divided by commas";
      input.value = Array.isArray(value) ? value.join(", ") : "";
      holder.replaceChildren(input);
      row.value = () => split(input.value).map((part) => typed(field.kind, part));
      return;
    }
    if (takes === "two") {
      const [from, to] = [valueInput(field, "From"), valueInput(field, "To")];
      holder.replaceChildren(from, to);
      row.value = () => [typed(field.kind, readValue(from)), typed(field.kind, readValue(to))];
      return;
    }
    // A variable such as $today stays text, whatever the field's own control would make of it.
    const variable = typeof value === "string" && value.startsWith("$");
    const input = variable
      ? make("input", { className: "s-input sm", ariaLabel: "Value" })
      : valueInput(field, "Value");
    fill(input, value, this.titles);
    holder.replaceChildren(input);
    row.value = () => typed(variable ? "text" : field.kind, readValue(input).trim());
  }

  mark() {
    this.joins.hidden = this.rows.length < 2;
    for (const button of this.joins.querySelectorAll("[data-join]"))
      button.setAttribute("aria-pressed", String(button.dataset.join === this.join));
  }

  write() {
    this.mark();
    const rows = this.rows.map((row) => ({ path: row.path(), operator: row.operator(), value: row.value() }));
    this.text.value = conditionOf(this.join, rows);
    this.text.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

function fill(input, value, titles) {
  if (value === undefined || value === null) return;
  if (input.matches(".lookup")) {
    input.querySelector("[data-lookup-value]").value = value;
    input.querySelector("[role=combobox]").value = titles[value] ?? value;
    return;
  }
  input.value = String(value);
}

const split = (text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);

export function buildConditions(root) {
  for (const box of root.querySelectorAll("[data-condition]")) {
    const fields = box.closest("[data-fields]")?.dataset.fields;
    if (!fields || box.dataset.ready) continue;
    box.dataset.ready = "yes";
    new Builder(box, JSON.parse(fields));
  }
}
