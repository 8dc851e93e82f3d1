// The bell: its number follows the topic `notifications` (data {"unread": n}); the list is loaded when the menu opens.
// The fragment of /notifications/panel may carry data-unread="n" on any element, which then becomes the number.
import { toast } from "./toasts.js";

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
  bell.addEventListener("live:notifications", (event) => {
    const { unread, title, kind, resync } = event.detail ?? {};
    if (typeof unread === "number") setUnread(unread);
    if (title) toast(kind ?? "info", title);
    if (bell.open || resync) load();
  });
  panel.addEventListener("htmx:afterSettle", () => {
    const count = Number(panel.querySelector("[data-unread]")?.dataset.unread);
    if (Number.isInteger(count)) setUnread(count);
  });
}
