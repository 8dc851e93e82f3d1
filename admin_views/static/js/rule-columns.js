// The dialog in which a column of a rule is made or changed: a condition on a fact or a formula, a fact, an answer.
import { element } from "./rule-grid.js";

const FACT = /^[a-z][a-z0-9_]{0,47}$/;

export function columnDialog({ given, state, id, changed }) {
  const box = document.getElementById("column-dialog");
  const form = box.querySelector("form");
  const controls = form.elements;
  const part = (name) => box.querySelector(`[data-${name}]`);
  let mode = "column";
  let was = null;

  const list = () => (mode === "answer" ? state.content.outputs : state.content.inputs);
  const known = () => (mode === "answer" ? given.known_answers : given.known_facts);

  function open(newMode, one) {
    mode = newMode;
    was = one;
    const words = { column: "condition", fact: "fact", answer: "answer" }[mode];
    part("title").textContent = one ? `Change the ${words}` : `Add ${words === "condition" ? "a" : words === "answer" ? "an" : "a"} ${words}`;
    part("name-label").textContent = mode === "column" ? "Tests" : "Name";
    part("name-help").textContent =
      mode === "column"
        ? "A fact such as pnl, or a formula over facts such as abs(pnl)."
        : "Small letters, digits and _.";
    const names = [...new Set([...known().map((field) => field.name), ...(mode === "column" ? list().map((field) => field.name) : [])])];
    part("names").replaceChildren(...names.map((value) => element("option", { value })));
    const field = mode === "column" ? state.content.inputs.find((input) => input.name === one?.expression) : one;
    controls.name.value = mode === "column" ? (one?.expression ?? "") : (one?.name ?? "");
    controls.label.value = (mode === "column" && !field ? one?.label : field?.label) ?? "";
    controls.type.value = field?.type ?? one?.type ?? (mode === "column" && one ? "decimal" : "text");
    controls.options.value = (field?.options ?? []).join(", ");
    controls.needed.checked = field ? field.required : mode !== "answer";
    for (const name of ["remove", "left", "right"]) part(name).hidden = !one || (name !== "remove" && mode === "fact");
    part("problem").textContent = "";
    adapt();
    box.showModal();
    controls.name.focus();
  }

  function adapt() {
    const name = controls.name.value.trim();
    const isFact = mode !== "column" || FACT.test(name) || !name;
    part("for-choice").hidden = !isFact || controls.type.value !== "choice";
    part("for-needed").hidden = !isFact;
    part("needed-words").textContent = mode === "answer" ? "Every row must answer it" : "It is always given";
    const limited = isFact ? [] : ["choice", "date", "texts"];
    for (const option of controls.type.options) option.disabled = limited.includes(option.value);
  }

  controls.name.addEventListener("input", () => {
    const found = [...list(), ...known()].find((field) => field.name === controls.name.value.trim());
    if (found && found.name !== was?.name) {
      controls.type.value = found.type;
      controls.options.value = found.options.join(", ");
      controls.needed.checked = found.required;
    }
    adapt();
  });
  controls.type.addEventListener("change", adapt);

  function refuse(text) {
    part("problem").textContent = text;
    controls.name.focus();
    return false;
  }

  function read() {
    const name = controls.name.value.trim();
    const options = controls.options.value.split(",").map((text) => text.trim()).filter(Boolean);
    const field = {
      name,
      label: controls.label.value.trim(),
      type: controls.type.value,
      options: controls.type.value === "choice" ? options : [],
      required: controls.needed.checked,
    };
    if (!name) return refuse("Say what it is called.");
    if (mode !== "column" && !FACT.test(name)) return refuse("Use small letters, digits and _, beginning with a letter.");
    return mode === "column" ? readColumn(name, field) : readField(name, field);
  }

  function readColumn(name, field) {
    const column = was ?? { id: id(), expression: "", label: "", type: null };
    const before = state.content.inputs.find((input) => input.name === column.expression);
    if (FACT.test(name)) {
      const there = state.content.inputs.find((input) => input.name === name);
      if (there) Object.assign(there, field);
      else if (before && was) rename(before, field);
      else state.content.inputs.push(field);
      Object.assign(column, { expression: name, label: "", type: null });
    } else Object.assign(column, { expression: name, label: field.label, type: field.type });
    if (!was) state.content.columns.push(column);
    return true;
  }

  function readField(name, field) {
    const fields = list();
    if (fields.some((other) => other.name === name && other !== was)) return refuse(`There is ${name} already.`);
    if (was) rename(was, field);
    else fields.push(field);
    return true;
  }

  // A new name goes along to whatever was entered under the old one.
  function rename(field, now) {
    const old = field.name;
    Object.assign(field, now);
    if (old === now.name) return;
    const carry = (record) => {
      if (record && old in record) {
        record[now.name] = record[old];
        delete record[old];
      }
    };
    if (mode === "answer") {
      carry(state.content.formulas);
      for (const row of state.content.rows) carry(row.answers);
      for (const test of state.tests) for (const one of [test.expected].flat()) carry(one);
    } else {
      for (const column of state.content.columns) if (column.expression === old) column.expression = now.name;
      for (const test of state.tests) carry(test.input);
    }
  }

  function remove() {
    if (mode === "column") {
      state.content.columns = state.content.columns.filter((column) => column !== was);
      for (const row of state.content.rows) delete row.tests[was.id];
      const gone = state.content.inputs.find((input) => input.name === was.expression);
      if (gone && !mentioned(gone.name)) state.content.inputs = state.content.inputs.filter((input) => input !== gone);
    } else if (mode === "fact") state.content.inputs = state.content.inputs.filter((input) => input !== was);
    else {
      state.content.outputs = state.content.outputs.filter((output) => output !== was);
      delete state.content.formulas[was.name];
      for (const row of state.content.rows) delete row.answers[was.name];
    }
    const inputs = new Set(state.content.inputs.map((input) => input.name));
    for (const test of state.tests) for (const name of Object.keys(test.input)) if (!inputs.has(name)) delete test.input[name];
    if (mode === "answer")
      for (const test of state.tests) for (const one of [test.expected].flat()) if (one) delete one[was.name];
  }

  function mentioned(name) {
    const word = new RegExp(`\\b${name}\\b`);
    const { columns, rows } = state.content;
    const cells = rows.flatMap((row) => [...Object.values(row.tests), ...Object.values(row.answers)]);
    return columns.some((column) => word.test(column.expression)) || cells.some((cell) => word.test(cell));
  }

  function shift(by) {
    const fields = mode === "column" ? state.content.columns : list();
    const place = fields.indexOf(was);
    const to = place + by;
    if (to < 0 || to >= fields.length) return;
    fields.splice(to, 0, ...fields.splice(place, 1));
    changed();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!read()) return;
    box.close();
    changed();
  });
  part("remove").addEventListener("click", () => {
    remove();
    box.close();
    changed();
  });
  part("left").addEventListener("click", () => shift(-1));
  part("right").addEventListener("click", () => shift(1));
  return {
    column: (column) => open("column", column),
    answer: (output) => open("answer", output),
    fact: (input) => open("fact", input),
  };
}
