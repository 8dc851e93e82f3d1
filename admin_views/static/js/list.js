// The generated list: row selection with its bulk bar, and the keys J, K, Enter, X, N.
import "./columns.js";
import "./filter-builder.js";
import { onKey } from "./keys.js";

const list = document.querySelector("[data-list]");
const rows = () => [...list.querySelectorAll("tr[data-row]")];
const boxes = () => [...list.querySelectorAll("[data-select]:not(:disabled)")];
const bar = list?.querySelector("[data-bulk]");
const page = list?.querySelector("[data-select-page]");
let everything = false; // the whole filter is selected, not only rows of this page
let last = null;

function refreshSelection() {
  if (!bar) return;
  const chosen = boxes().filter((box) => box.checked);
  if (chosen.length < boxes().length) everything = false;
  const total = Number(list.dataset.total);
  bar.hidden = chosen.length === 0;
  bar.querySelector("[data-bulk-count]").textContent = `${everything ? total : chosen.length} selected`;
  bar.querySelector("[data-bulk-all]").hidden = everything || total <= chosen.length;
  page.checked = chosen.length > 0 && chosen.length === boxes().length;
  page.indeterminate = chosen.length > 0 && chosen.length < boxes().length;
}

function setAll(checked) {
  for (const box of boxes()) box.checked = checked;
  everything = false;
  refreshSelection();
}

list?.addEventListener("change", (event) => {
  if (event.target === page) setAll(page.checked);
  else if (event.target.matches("[data-select]")) refreshSelection();
});
// Shift with a click selects everything between the last box and this one.
list?.addEventListener("click", (event) => {
  const box = event.target.closest("[data-select]");
  if (!box) return;
  const all = boxes();
  if (event.shiftKey && last && all.includes(last)) {
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const between of all.slice(from, to + 1)) between.checked = box.checked;
    refreshSelection();
  }
  last = box;
});
bar?.querySelector("[data-bulk-all]").addEventListener("click", () => {
  setAll(true);
  everything = true;
  refreshSelection();
});
bar?.querySelector("[data-bulk-clear]").addEventListener("click", () => setAll(false));

// A bulk action gets what is selected: its dialog when it opens, its form when it is sent.
function fill(place) {
  const chosen = boxes().filter((box) => box.checked);
  const hidden = (name, value) => Object.assign(document.createElement("input"), { type: "hidden", name, value });
  place.replaceChildren(
    ...(everything
      ? [
          hidden("all", "1"),
          hidden("filter", list.dataset.filter),
          hidden("q", list.querySelector("[data-list-search]")?.value ?? ""),
        ]
      : chosen.map((box) => hidden("ids", box.value))),
  );
  return everything ? Number(list.dataset.total) : chosen.length;
}
for (const dialog of document.querySelectorAll('dialog[id^="bulk-"]')) {
  dialog.addEventListener("steps:dialog-open", () => {
    const count = fill(dialog.querySelector("[data-bulk-inputs]"));
    dialog.querySelector("[data-bulk-what]").textContent =
      count === 1 ? "This concerns 1 record." : `This concerns ${count} records.`;
  });
}
for (const form of document.querySelectorAll("[data-bulk-form]")) {
  form.addEventListener("submit", () => fill(form.querySelector("[data-bulk-inputs]")));
}

function move(step) {
  const all = rows();
  if (!all.length) return false;
  const here = all.findIndex((row) => row.classList.contains("at"));
  const next = all[Math.max(0, Math.min(all.length - 1, here + step))] ?? all[0];
  for (const row of all) row.classList.toggle("at", row === next);
  next.scrollIntoView({ block: "nearest" });
  (next.querySelector(".c-title a") ?? next.querySelector("a"))?.focus({ preventScroll: true });
}
const current = () => list.querySelector("tr.at");

// A click anywhere on a row opens it, unless it is on a control or ends a selection of text.
list?.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  if (!row || event.target.closest("a, button, input, label, summary") || !getSelection().isCollapsed) return;
  if (event.ctrlKey || event.metaKey) window.open(row.dataset.href, "_blank", "noopener");
  else location.href = row.dataset.href;
});

if (list) {
  onKey("j", () => move(1));
  onKey("k", () => move(-1));
  onKey("Enter", (event) => {
    if (event.target instanceof Element && event.target.closest("a, button, summary, input")) return false;
    if (!current()) return false;
    location.href = current().dataset.href;
  });
  onKey("x", () => {
    const box = current()?.querySelector("[data-select]:not(:disabled)");
    if (!box) return false;
    box.click();
  });
  onKey("n", () => {
    const link = document.querySelector("[data-new]");
    if (!link) return false;
    link.click();
  });
  refreshSelection();

  // a live list reloads its own panel and keeps the selection of the rows that are still there
  const topic = list.dataset.live;
  if (topic) {
    list.addEventListener(`live:${topic}`, async () => {
      if (list.querySelector("details[open]") || document.querySelector("dialog[open]")) return;
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const chosen = new Set(
        boxes()
          .filter((box) => box.checked)
          .map((box) => box.value),
      );
      const at = current()?.dataset.row;
      const [before, after] = [list.querySelector("tbody"), fresh.querySelector("[data-list] tbody")];
      if (!before || !after) return location.reload();
      before.replaceWith(document.adoptNode(after));
      for (const box of boxes()) box.checked = chosen.has(box.value);
      if (at) list.querySelector(`tr[data-row="${CSS.escape(at)}"]`)?.classList.add("at");
      const count = fresh.querySelector("h1 .s-count");
      if (count) document.querySelector("h1 .s-count").textContent = count.textContent;
      refreshSelection();
    });
  }
}
