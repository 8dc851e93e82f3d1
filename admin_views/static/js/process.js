// The page of a process: J and K move through the run, commentaries count their characters.
import { onKey } from "./keys.js";
import "./parts.js";

const follow = (selector) => () => {
  const link = document.querySelector(selector);
  if (!link) return false;
  link.click();
};
onKey("j", follow("[data-next]"));
onKey("k", follow("[data-previous]"));

document.addEventListener("input", (event) => {
  const box = event.target;
  if (!(box instanceof HTMLTextAreaElement) || !box.dataset.least) return;
  const shown = document.getElementById(`${box.id}-e`)?.querySelector("[data-count]");
  const length = box.value.trim().length;
  if (shown) shown.textContent = `${length} of at least ${box.dataset.least}`;
  shown?.classList.toggle("enough", length >= Number(box.dataset.least));
});
