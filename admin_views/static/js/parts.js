// Parts of a page, each with data-part, are drawn anew when a topic in a data-live of the page's content reports a change;
// except those in which somebody is typing. The page itself is asked again, so that everything goes through its own scope.
import { tick } from "./countdown.js";

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

const own = document.querySelector("[data-self]")?.dataset.self ?? location.pathname + location.search;
let loading = false;
let again = false;

async function refresh() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const answer = await fetch(own, { headers: { accept: "text/html" }, credentials: "same-origin" });
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

for (const source of document.querySelectorAll("main [data-live]")) {
  for (const topic of source.dataset.live.split(" ")) document.addEventListener(`live:${topic}`, refresh);
}
