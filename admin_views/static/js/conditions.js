// Mirrors the form's conditions while somebody types: data-visible-if, data-required-if, data-read-only-if (the filter grammar).
// The server decides again on save; nothing hidden here is trusted there.
import { evaluate } from "./filters.js";

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
    else if (first.type === "radio") record[holder.dataset.field] = controls.find((control) => control.checked)?.value ?? null;
    else {
      const control = holder.querySelector(".s-money input") ?? first;
      record[holder.dataset.field] = control.value === "" ? null : control.inputMode === "numeric" ? Number(control.value) : control.value;
    }
  }
  return record;
}

export function applyConditions() {
  const record = recordOf(form);
  const variables = { $now: new Date().toISOString(), $today: new Date().toISOString().slice(0, 10), $business_date: form.dataset.businessDate ?? null, $me: form.dataset.me ?? null };
  const holds = (text) => evaluate(JSON.parse(text), record, variables);
  for (const element of form.querySelectorAll("[data-visible-if]")) {
    const shown = holds(element.dataset.visibleIf);
    element.hidden = !shown;
    for (const control of element.querySelectorAll("input, select, textarea")) control.disabled = !shown;
  }
  for (const element of form.querySelectorAll("[data-required-if]")) {
    const required = holds(element.dataset.requiredIf);
    element.querySelector("[data-required-mark]").hidden = !required;
    for (const control of element.querySelectorAll(".s-input, .s-money input, select, textarea")) if ("required" in control) control.required = required;
  }
  for (const element of form.querySelectorAll("[data-read-only-if]")) {
    const fixed = holds(element.dataset.readOnlyIf);
    for (const control of element.querySelectorAll("input, textarea")) control.readOnly = fixed;
  }
}

form.addEventListener("input", applyConditions);
form.addEventListener("change", applyConditions);
applyConditions();
