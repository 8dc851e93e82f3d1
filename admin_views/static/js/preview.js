// What the form would do, shown beside it: sent as it is typed, never saved.
const panel = document.querySelector("[data-preview]");
const form = document.querySelector("[data-record-form]");
const PAUSE = 350;
let timer = 0;
let running = null;

async function show() {
  running?.abort();
  running = new AbortController();
  panel.setAttribute("aria-busy", "true");
  const data = new FormData(form);
  data.set("_schedule", panel.dataset.record ?? "");
  try {
    const answer = await fetch(panel.dataset.preview, { method: "POST", body: data, signal: running.signal });
    if (!answer.ok) return;
    const shown = new DOMParser().parseFromString(await answer.text(), "text/html");
    panel.querySelector("[data-preview-body]").replaceChildren(...shown.body.childNodes);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    return;
  }
  panel.removeAttribute("aria-busy");
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(show, PAUSE);
}

if (panel && form) {
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  show();
}
