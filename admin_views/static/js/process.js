// The page of a process: J and K move through the run, commentaries count their characters, and the parts of the page are
// replaced when the process or its run changes, except those in which somebody is typing.
import { tick } from "./countdown.js";
import { onKey } from "./keys.js";

const follow = (selector) => () => {
  const link = document.querySelector(selector);
  if (!link) return false;
  link.click();
};
onKey("j", follow("[data-next]"));
onKey("k", follow("[data-previous]"));

// A dialog whose change was refused is open again, with what was typed.
document.querySelector("dialog[data-open]")?.showModal();

document.addEventListener("input", (event) => {
  const box = event.target;
  if (!(box instanceof HTMLTextAreaElement) || !box.dataset.least) return;
  const shown = document.getElementById(`${box.id}-e`)?.querySelector("[data-count]");
  const length = box.value.trim().length;
  if (shown) shown.textContent = `${length} of at least ${box.dataset.least}`;
  shown?.classList.toggle("enough", length >= Number(box.dataset.least));
});

// What a person has typed or chosen and not sent yet.
function isTouched(part) {
  if (part.querySelector("dialog[open], form[data-sent]")) return true;
  const active = document.activeElement;
  if (active?.matches("input, textarea, select") && part.contains(active)) return true;
  for (const field of part.querySelectorAll("textarea, input:not([type=hidden])")) {
    if (field.type === "file" ? field.files.length : field.value !== field.defaultValue) return true;
  }
  for (const option of part.querySelectorAll("select:not([hx-get]) option")) {
    const starts = option.defaultSelected || (option.index === 0 && !option.parentElement.querySelector("[selected]"));
    if (option.selected !== starts) return true;
  }
  return false;
}

let loading = false;
let again = false;

async function refresh() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) replace(part, fresh);
    tick();
  } catch {
    /* the connection is away: live.js refreshes everything once it is back */
  } finally {
    loading = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

function replace(part, fresh) {
  const next = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
  if (!next || part.dataset.part === "error" || isTouched(part)) return;
  const open = [...part.querySelectorAll("details")].map((details) => details.open);
  const here = part instanceof HTMLDetailsElement && part.open;
  part.replaceWith(next);
  const folded = [...next.querySelectorAll("details")];
  if (folded.length === open.length) folded.forEach((details, index) => (details.open = open[index]));
  if (here) next.open = true;
  window.htmx?.process(next);
}

const page = document.querySelector("[data-process]");
for (const topic of page?.dataset.live.split(" ") ?? []) page.addEventListener(`live:${topic}`, refresh);
