// The editor of a lifecycle's draft: rows of states, steps and effects, pickers that follow the states, unsaved changes, Ctrl+S.
import { buildConditions } from "./condition-builder.js";

const page = document.querySelector("[data-lifecycle]");
const form = document.querySelector("[data-lifecycle-form]");

for (const notice of document.querySelectorAll("[data-changed-notice]")) {
  for (const topic of page.dataset.live.split(" ")) {
    document.addEventListener(`live:${topic}`, (event) => {
      if (!event.detail?.resync) notice.hidden = false;
    });
  }
}

let next = 1000; // numbers of new rows; the order of rows is their order on the page
const copy = (name, index, effect = "") => {
  const row = document.querySelector(`template[data-${name}-template]`).content.firstElementChild.cloneNode(true);
  const fill = (text) => text.replaceAll("__i__", index).replaceAll("__e__", effect);
  for (const element of [row, ...row.querySelectorAll("*")]) {
    for (const attribute of ["name", "id", "data-at", "data-name", "aria-describedby"]) {
      const value = element.getAttribute(attribute);
      if (value?.includes("__")) element.setAttribute(attribute, fill(value));
    }
  }
  return row;
};

const rows = (selector) => [...form.querySelectorAll(selector)];
const slug = (label) =>
  label
    .toLowerCase()
    .match(/[a-z0-9]+/g)
    ?.join("_")
    .replace(/^(\d)/, "x_$1")
    .slice(0, 40) ?? "";

// A new state is named after its label while it is written; a saved one keeps its name, so that records stay in it.
function nameState(row) {
  const name = row.querySelector("[data-state-name]");
  if (row.dataset.name) return;
  const label = row.querySelector("[data-state-label]").value;
  const taken = new Set(rows("[data-state-name]").filter((other) => other !== name).map((other) => other.value));
  const base = slug(label);
  let found = base;
  for (let number = 2; found && taken.has(found); number += 1) found = `${base}_${number}`;
  const before = name.value;
  name.value = found;
  row.querySelector("[data-initial]").value = found;
  refreshStates(before ? { [before]: found } : {});
}

// Every picker of states offers the states there are, and keeps what was chosen, also under a new name.
function refreshStates(renamed = {}) {
  const states = rows("[data-state-row]")
    .map((row) => [row.querySelector("[data-state-name]").value, row.querySelector("[data-state-label]").value])
    .filter(([name]) => name);
  for (const select of rows('[data-states="one"]')) {
    const chosen = renamed[select.value] ?? select.value;
    const options = states.map(([name, label]) => new Option(label, name, false, name === chosen));
    select.replaceChildren(new Option("Choose…", ""), ...options);
  }
  for (const box of rows('[data-states="many"]')) {
    const chosen = new Set([...box.querySelectorAll("input:checked")].map((input) => renamed[input.value] ?? input.value));
    box.replaceChildren(
      ...states.map(([name, label]) => {
        const input = Object.assign(document.createElement("input"), { type: "checkbox", name: box.dataset.name, value: name });
        input.checked = chosen.has(name);
        const item = Object.assign(document.createElement("label"), { className: "s-check" });
        item.append(input, label);
        return item;
      }),
    );
  }
  for (const row of rows("[data-step-row]")) describe(row);
}

// The line of a folded step says what it is.
function describe(row) {
  row.querySelector("[data-step-title]").textContent = row.querySelector("[data-step-label]").value || "New step";
  const from = [...row.querySelectorAll('[data-states="many"] input:checked')].map((input) => input.parentElement.textContent.trim());
  const to = row.querySelector('[data-states="one"]').selectedOptions[0];
  row.querySelector("[data-step-way]").textContent = [from.join(", "), to?.value ? to.text : ""].filter(Boolean).join(" → ");
}

function showKind(row) {
  const kind = row.querySelector("[data-effect-kind]").value;
  for (const part of row.querySelectorAll("[data-kind]")) {
    part.hidden = part.dataset.kind !== kind;
    // Controls of another kind are not sent: two kinds can have a control of the same name.
    for (const control of part.querySelectorAll("input, select, textarea")) control.disabled = part.hidden;
  }
}

function changed() {
  document.querySelector("[data-unsaved]").hidden = false;
}

function add(list, row) {
  list.append(row);
  buildConditions(row);
  for (const effect of row.matches("[data-effect-row]") ? [row] : row.querySelectorAll("[data-effect-row]")) showKind(effect);
  row.querySelector("input:not([type=hidden]), select")?.focus();
  changed();
}

function remove(row) {
  const list = row.parentElement;
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (neighbour?.querySelector("[data-remove]") ?? list.parentElement.querySelector(".dashed"))?.focus();
  refreshStates();
  changed();
}

if (form) {
  buildConditions(form);
  for (const row of rows("[data-effect-row]")) showKind(row);
  refreshStates();
  form.addEventListener("input", (event) => {
    const state = event.target.closest("[data-state-row]");
    if (state && event.target.matches("[data-state-label]")) {
      nameState(state);
      refreshStates();
    }
    const step = event.target.closest("[data-step-row]");
    if (step) describe(step);
    changed();
  });
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-editing]")) {
      event.target.closest("[data-state-row]").querySelector("[data-editors]").hidden = event.target.value !== "roles";
    }
    if (event.target.matches("[data-effect-kind]")) showKind(event.target.closest("[data-effect-row]"));
  });
  form.addEventListener("click", (event) => {
    const target = event.target;
    if (target.closest("[data-add-state]")) add(form.querySelector("[data-states-list]"), copy("state", (next += 1)));
    if (target.closest("[data-add-step]")) {
      add(form.querySelector("[data-steps-list]"), copy("step", (next += 1)));
      refreshStates();
    }
    const effects = target.closest("[data-add-effect]")?.parentElement.querySelector("[data-effects]");
    if (effects) add(effects, copy("effect", effects.dataset.at.slice(2), (next += 1)));
    const row = target.closest("[data-effect-row], [data-state-row], [data-step-row]");
    if (row && target.closest("[data-remove]")) remove(row);
    const move = target.closest("[data-move]");
    const neighbour = move && (move.dataset.move === "up" ? row?.previousElementSibling : row?.nextElementSibling);
    if (neighbour) {
      if (move.dataset.move === "up") neighbour.before(row);
      else neighbour.after(row);
      move.focus();
      refreshStates();
      changed();
    }
  });
  let leaving = false;
  form.addEventListener("submit", () => {
    leaving = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && !document.querySelector("[data-unsaved]").hidden) event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
    event.preventDefault();
    document.querySelector("[data-save]").click();
  });
  form.querySelector("[aria-invalid]")?.closest("details")?.setAttribute("open", "");
  form.querySelector("[aria-invalid]")?.focus();
}
buildConditions(document);
