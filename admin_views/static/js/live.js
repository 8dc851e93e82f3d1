// Live parts. An element with data-live="topic other-topic" gets the DOM event `live:<topic>` when the server reports the topic, so
//   <div hx-get="/runs/7/board" hx-trigger="live:run-7" data-live="run-7">
// refreshes itself. The stream is GET /live?topics=a,b; each message has the topic as its event name and JSON as its data.
// After a lost connection, and when a hidden tab is seen again, every part is refreshed, since events may have been missed.
const QUIET_MS = 300; // a burst of events of one topic refreshes its parts once
const RETRY_MS = [1000, 2000, 5000, 10000, 30000];

// When the page was made, by the server's clock. What was touched since, the server says on connecting.
const made = Number(document.querySelector('meta[name="live-since"]')?.content ?? 0);
const answered = performance.getEntriesByType("navigation")[0]?.responseStart ?? 0;

let source = null;
let attempts = 0;
let lost = false;
let retryTimer = 0;
const waiting = new Map();

const elements = () => [...document.querySelectorAll("[data-live]")];
const topicsOf = (element) => element.dataset.live.split(/\s+/).filter(Boolean);
const topics = () => [...new Set(elements().flatMap(topicsOf))].sort();

function show(state) {
  for (const badge of document.querySelectorAll("[data-live-status]")) {
    badge.dataset.state = state;
    badge.textContent = { live: "Live", reconnecting: "Reconnecting", paused: "Paused" }[state];
  }
  document.dispatchEvent(new CustomEvent("steps:connection", { detail: state }));
}

function announce(topic, detail) {
  for (const element of elements()) {
    if (topicsOf(element).includes(topic))
      element.dispatchEvent(new CustomEvent(`live:${topic}`, { bubbles: true, detail }));
  }
}

function receive(topic, event) {
  let detail = {};
  try {
    detail = JSON.parse(event.data || "{}");
  } catch {
    /* a message without JSON still says that the topic changed */
  }
  clearTimeout(waiting.get(topic));
  waiting.set(
    topic,
    setTimeout(() => {
      waiting.delete(topic);
      announce(topic, detail);
    }, QUIET_MS),
  );
}

function refreshEverything() {
  for (const topic of topics()) announce(topic, { resync: true });
}

function connect() {
  clearTimeout(retryTimer);
  source?.close();
  const wanted = topics();
  if (!wanted.length) return;
  const since = made && Math.floor(source ? made + performance.now() - answered : made);
  source = new EventSource(`/live?topics=${encodeURIComponent(wanted.join(","))}&since=${since}`);
  source.connectedTopics = wanted.join(",");
  for (const topic of wanted) source.addEventListener(topic, (event) => receive(topic, event));
  source.addEventListener("open", () => {
    attempts = 0;
    show("live");
    if (lost) refreshEverything();
    lost = false;
  });
  source.addEventListener("error", () => {
    lost = true;
    show("reconnecting");
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    retryTimer = setTimeout(connect, RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)]);
  });
}

if (document.getElementById("shell")?.dataset.liveEnabled === "yes") {
  connect();
  // a hidden tab gives its connection back: browsers allow few per host
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      clearTimeout(retryTimer);
      lost = true;
    } else connect();
  });
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // the browser shows a page that it has kept
    lost = true;
    connect();
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (source && topics().join(",") !== source.connectedTopics) connect();
  });
}
