// The bell: when the topic `notifications` reports, the list is asked for again; it carries data-unread="n", the number.
const bell = document.querySelector("[data-bell]");
const panel = bell?.querySelector("[data-bell-panel]");

function setUnread(count) {
  const dot = bell.querySelector(".dot");
  dot.hidden = count === 0;
  dot.textContent = count < 100 ? String(count) : "99+";
  bell.querySelector("summary").setAttribute("aria-label", `Notifications, ${count} unread`);
}

if (bell && panel) {
  const load = () => panel.dispatchEvent(new CustomEvent("bell-open"));
  bell.addEventListener("toggle", () => {
    if (bell.open) load();
  });
  bell.addEventListener("live:notifications", load);
  panel.addEventListener("htmx:afterSettle", () => {
    const count = Number(panel.querySelector("[data-unread]")?.dataset.unread);
    if (Number.isInteger(count)) setUnread(count);
  });
}
