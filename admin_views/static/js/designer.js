// The designer: the chosen part stays in view, arrow keys walk the tree, Alt with an arrow moves the part, folded on phones.
import { isTyping } from "./keys.js";

const tree = document.querySelector(".wf-stages .s-tree");
const chosen = tree?.querySelector('[aria-selected="true"]');
const panel = document.querySelector(".wf-stages");
const editor = document.querySelector("[data-part-editor]");

if (chosen && tree.scrollHeight > tree.clientHeight)
  tree.scrollTop = chosen.offsetTop - tree.offsetTop - tree.clientHeight / 2;
// On a phone the tree is a picker: folded as soon as something is chosen.
if (panel && window.matchMedia("(max-width: 760px)").matches && (chosen || editor)) panel.open = false;

// The picture shows the chosen part.
const canvas = document.querySelector("[data-graph]");
const drawn = canvas?.querySelector(".node.chosen");
if (drawn && canvas.scrollWidth > canvas.clientWidth) {
  const box = drawn.getBoundingClientRect();
  const frame = canvas.getBoundingClientRect();
  canvas.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
  canvas.scrollTop += box.top - frame.top - (frame.height - box.height) / 2;
}

const step = (by) => document.querySelector(`form[data-step="${by}"]`);

document.addEventListener("keydown", (event) => {
  const up = event.key === "ArrowUp";
  if (!up && event.key !== "ArrowDown") return;
  if (event.altKey && !event.ctrlKey && !event.metaKey && !isTyping(event.target)) {
    const form = step(up ? "up" : "down");
    if (!form || form.querySelector("[aria-disabled]")) return;
    event.preventDefault();
    form.requestSubmit();
    return;
  }
  const item = event.target.closest?.('.wf-stages [role="treeitem"]');
  const next = up ? item?.previousElementSibling : item?.nextElementSibling;
  if (!next) return;
  event.preventDefault();
  next.focus();
});

for (const notice of document.querySelectorAll("[data-changed-notice]")) {
  notice.addEventListener(`live:${notice.dataset.live}`, (event) => {
    if (!event.detail?.resync) notice.hidden = false;
  });
}
