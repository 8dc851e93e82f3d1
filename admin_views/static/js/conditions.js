// Mirrors the form's conditions while somebody types: data-visible-if, data-required-if, data-read-only-if (the filter grammar).
// The server decides again on save; nothing hidden here is trusted there.
import { now } from "./countdown.js";
import { evaluate, FilterError } from "./filters.js";

const form = document.querySelector("[data-record-form]");

// The form's values by field path, typed as far as the control tells.
export function recordOf(root) {
  const record = {};
  for (const holder of root.querySelectorAll("[data-field]")) {
    if (holder.closest("[data-lines]") || holder.closest("template")) continue;
    const controls = [...holder.querySelectorAll("input, select, textarea")].filter((control) => control.name);
    if (!controls.length) continue;
    const first = controls[0];
    const boxes = controls.filter((control) => control.type === "checkbox");
    if (boxes.length > 1) record[holder.dataset.field] = boxes.filter((box) => box.checked).map((box) => box.value);
    else if (boxes.length === 1) record[holder.dataset.field] = boxes[0].checked;
    else if (first.type === "radio")
      record[holder.dataset.field] = controls.find((control) => control.checked)?.value ?? null;
    else {
      const control = holder.querySelector(".s-money input") ?? first;
      record[holder.dataset.field] =
        control.value === "" ? null : control.inputMode === "numeric" ? Number(control.value) : control.value;
    }
  }
  return record;
}

export function applyConditions() {
  const record = recordOf(form);
  const instant = new Date(now()).toISOString();
  const variables = {
    now: instant,
    today: instant.slice(0, 10),
    business_date: form.dataset.businessDate ?? null,
    me: form.dataset.me ?? null,
    types: JSON.parse(form.dataset.fieldTypes ?? "{}"),
  };
  const holds = (text) => {
    try {
      return evaluate(JSON.parse(text), record, variables);
    } catch (error) {
      if (error instanceof FilterError) return null; // only the server can decide this one: leave the part as it came
      throw error;
    }
  };
  for (const element of form.querySelectorAll("[data-visible-if]")) {
    const shown = holds(element.dataset.visibleIf);
    if (shown === null) continue;
    element.hidden = !shown;
    for (const control of element.querySelectorAll("input, select, textarea")) control.disabled = !shown;
  }
  for (const element of form.querySelectorAll("[data-required-if]")) {
    const required = holds(element.dataset.requiredIf);
    if (required === null) continue;
    element.querySelector("[data-required-mark]").hidden = !required;
    for (const control of element.querySelectorAll(".s-input, .s-money input, select, textarea"))
      if ("required" in control) control.required = required;
  }
  for (const element of form.querySelectorAll("[data-read-only-if]")) {
    const fixed = holds(element.dataset.readOnlyIf);
    if (fixed === null) continue;
    for (const control of element.querySelectorAll("input, textarea")) control.readOnly = fixed;
  }
}

form.addEventListener("input", applyConditions);
form.addEventListener("change", applyConditions);
applyConditions();
