// Child lines: add, remove, move up and down, Alt+N. The order of the rows is the order in which they are sent. A new row is a copy of the <template> with __i__ replaced by the next index.
import { enhanceAll } from "./lookup.js";

function renumber(box) {
  const rows = [...box.querySelectorAll("[data-lines-body] > tr[data-line]")];
  rows.forEach((row, index) => {
    row.querySelector("[data-line-no]").textContent = index + 1;
  });
  const left = rows.filter((row) => !row.classList.contains("removed")).length;
  const counter = box.closest(".s-sec")?.querySelector("[data-line-count]");
  if (counter) counter.textContent = left;
  const add = box.querySelector("[data-line-add]");
  if (add && box.dataset.max) add.disabled = left >= Number(box.dataset.max);
  return left;
}

function addLine(box) {
  const template = box.querySelector("template[data-line-template]");
  if (!template || box.querySelector("[data-line-add]").disabled) return;
  const counter = box.querySelector("[data-lines-count]");
  const index = Number(counter.value);
  const row = template.content.firstElementChild.cloneNode(true);
  for (const element of row.querySelectorAll("*")) {
    for (const name of ["id", "name", "for", "aria-describedby", "aria-controls", "aria-labelledby"]) {
      const value = element.getAttribute(name);
      if (value?.includes("__i__")) element.setAttribute(name, value.replaceAll("__i__", index));
    }
  }
  box.querySelector("[data-lines-body]").append(row);
  counter.value = index + 1;
  enhanceAll(row);
  renumber(box);
  row.querySelector("select, input:not([type=hidden]), textarea")?.focus();
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

function removeLine(box, row) {
  const id = row.querySelector('input[name$="-_id"]');
  if (id.value) {
    // a saved row: marked, so that it can be brought back before saving
    const marker = row.querySelector('input[name$="-_delete"]');
    if (marker) {
      marker.remove();
      row.classList.remove("removed");
    } else {
      row
        .querySelector(".l-no")
        .append(
          Object.assign(document.createElement("input"), {
            type: "hidden",
            name: id.name.replace(/_id$/, "_delete"),
            value: "1",
          }),
        );
      row.classList.add("removed");
    }
    const gone = row.classList.contains("removed");
    const button = row.querySelector("[data-line-remove]");
    button.setAttribute("aria-label", gone ? "Keep this line" : "Remove this line");
    button.querySelector(".ti").className = `ti ti-${gone ? "arrow-back-up" : "trash"}`;
  } else {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("[data-line-remove]") ?? box.querySelector("[data-line-add]"))?.focus();
  }
  renumber(box);
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

function moveLine(box, button) {
  const row = button.closest("tr");
  const up = button.dataset.lineMove === "up";
  const neighbour = up ? row.previousElementSibling : row.nextElementSibling;
  if (!neighbour) return;
  if (up) neighbour.before(row);
  else neighbour.after(row);
  renumber(box);
  button.focus();
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

for (const box of document.querySelectorAll("[data-lines]")) {
  box.addEventListener("click", (event) => {
    const move = event.target.closest("[data-line-move]");
    if (move) moveLine(box, move);
    else if (event.target.closest("[data-line-add]")) addLine(box);
    else if (event.target.closest("[data-line-remove]")) removeLine(box, event.target.closest("tr"));
  });
  renumber(box);
}
document.addEventListener("keydown", (event) => {
  if (!event.altKey || event.code !== "KeyN") return;
  const boxes = [...document.querySelectorAll("[data-lines]")].filter((box) => box.checkVisibility());
  const box = boxes.find((candidate) => candidate.contains(document.activeElement)) ?? boxes[0];
  if (!box) return;
  event.preventDefault();
  addLine(box);
});
