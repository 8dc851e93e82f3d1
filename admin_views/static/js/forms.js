// The generated form: focus on what is wrong, unsaved changes, Ctrl+S, and the parts it is made of.
import { showPartOf } from "./form-tabs.js";
import { enhanceAll } from "./lookup.js";
import "./lines.js";

const form = document.querySelector("[data-record-form]");
const summary = document.querySelector("[data-error-summary]");
const badge = document.querySelector("[data-unsaved]");
let leaving = false;

enhanceAll();
if (form?.querySelector("[data-visible-if], [data-required-if], [data-read-only-if]")) import("./conditions.js");

// The summary names each field; its links open the right tab and put the cursor into the field.
summary?.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const field = link && document.getElementById(link.hash.slice(1));
  if (!field) return;
  event.preventDefault();
  showPartOf(field);
  field.scrollIntoView({ block: "center" });
  (field.matches("input, select, textarea, [tabindex]")
    ? field
    : field.querySelector("input, select, textarea")
  )?.focus();
});
summary?.focus();

// Which fields differ from what was loaded, by name and values.
function snapshot() {
  const values = new Map();
  for (const [name, value] of new FormData(form)) {
    if (name === "csrf_token") continue;
    values.set(name, `${values.get(name) ?? ""}\u0000${value instanceof File ? value.name : value}`);
  }
  return values;
}
const start = form ? snapshot() : new Map();

function changed() {
  const now = snapshot();
  return [...new Set([...start.keys(), ...now.keys()])].filter(
    (name) => start.get(name) !== now.get(name) && !name.endsWith("-_count"),
  ).length;
}

function showUnsaved() {
  const count = changed();
  badge.hidden = count === 0;
  badge.querySelector("[data-unsaved-text]").textContent =
    count === 1 ? "1 unsaved change" : `${count} unsaved changes`;
}

if (form) {
  form.addEventListener("input", showUnsaved);
  form.addEventListener("change", showUnsaved);
  form.addEventListener("submit", () => {
    leaving = true;
  });
  document.querySelector("[data-leave]")?.addEventListener("click", (event) => {
    const count = changed();
    if (count && !window.confirm(`Leave without saving? ${count} change${count === 1 ? " is" : "s are"} lost.`))
      event.preventDefault();
    else leaving = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && changed()) event.preventDefault();
  });
  window.addEventListener("pageshow", () => {
    leaving = false;
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
    event.preventDefault();
    form.requestSubmit(document.querySelector('button[form="record-form"][value="stay"]'));
  });
  // negative amounts are red while they are typed, too
  form.addEventListener("input", (event) => {
    if (event.target.matches?.('input[inputmode="decimal"]'))
      event.target.classList.toggle("negative", /^\s*[-−]/.test(event.target.value));
  });
}
