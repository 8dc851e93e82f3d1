// Deadlines tick in the browser: <time data-due="ISO" data-warn="ISO"> becomes "00:18 left" or "00:12 over" with class far, warn or
// breach. Time is the server's (meta server-now), which a demo may shift; the browser's clock only measures what has passed since.
const WARN_WITHOUT_MARK_MS = 30 * 60 * 1000;

const navigation = performance.getEntriesByType("navigation")[0];
const arrived = performance.timeOrigin + (navigation?.responseStart ?? 0);
const serverNow = Date.parse(document.querySelector('meta[name="server-now"]')?.content ?? "");
const offset = Number.isNaN(serverNow) ? 0 : serverNow - arrived;

export const now = () => Date.now() + offset;

// "00:18" below a day, "2 d 4 h" above.
export function span(milliseconds) {
  const minutes = Math.floor(Math.abs(milliseconds) / 60000);
  if (minutes >= 24 * 60) return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}

export function toneOf(due, warn, at) {
  if (at >= due) return "breach";
  return at >= (warn ?? due - WARN_WITHOUT_MARK_MS) ? "warn" : "far";
}

function tickTime(element, at) {
  const due = Date.parse(element.dataset.due);
  if (Number.isNaN(due)) return;
  const tone = toneOf(due, element.dataset.warn ? Date.parse(element.dataset.warn) : null, at);
  const words = `${span(due - at)} ${at >= due ? "over" : "left"}`;
  element.classList.remove("ok", "far", "none", "warn", "breach");
  element.classList.add(tone);
  if (element.dataset.shown === words) return;
  element.dataset.shown = words;
  element.textContent = words;
  if ("icon" in element.dataset && tone !== "far") {
    const icon = Object.assign(document.createElement("i"), {
      className: `ti ti-${tone === "breach" ? "clock-exclamation" : "clock"}`,
      ariaHidden: "true",
    });
    element.prepend(icon);
  }
}

function tickRing(ring, at) {
  const due = Date.parse(ring.dataset.due);
  const from = Date.parse(ring.dataset.from ?? "");
  const tone = toneOf(due, ring.dataset.warn ? Date.parse(ring.dataset.warn) : null, at);
  ring.classList.remove("ok", "far", "warn", "breach");
  ring.classList.add(tone);
  const big = ring.querySelector(".big");
  big.textContent = span(due - at);
  big.classList.toggle("long", big.textContent.length > 5);
  ring.querySelector(".sub").textContent = at >= due ? "over" : "left";
  if (!Number.isNaN(from) && due > from) {
    const left = Math.max(0, Math.min(100, (100 * (due - at)) / (due - from)));
    ring.querySelector(".part").setAttribute("stroke-dasharray", `${at >= due ? 100 : left.toFixed(1)} 100`);
  }
}

function tickDemoClock(element) {
  element.dataset.text ??= element.textContent;
  const match = element.dataset.text.match(/\b(\d{2}):(\d{2})\b/);
  if (!match) return;
  const passed = Math.floor((now() - serverNow + (serverNow % 60000)) / 60000);
  const minutes = (Number(match[1]) * 60 + Number(match[2]) + passed) % 1440;
  element.textContent = element.dataset.text.replace(
    match[0],
    `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`,
  );
}

export function tick(root = document) {
  const at = now();
  for (const element of root.querySelectorAll("time[data-due]")) tickTime(element, at);
  for (const ring of root.querySelectorAll("svg[data-ring]")) tickRing(ring, at);
  if (!Number.isNaN(serverNow))
    for (const element of root.querySelectorAll("[data-demo-clock]")) tickDemoClock(element);
}

tick();
setInterval(() => {
  if (!document.hidden) tick();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
document.addEventListener("htmx:afterSettle", (event) => tick(event.target));
