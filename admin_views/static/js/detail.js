// The record page: E edits, J and K move through the list it was opened from, and a notice appears when the record changes.
import { onKey } from "./keys.js";

const follow = (selector) => () => {
  const link = document.querySelector(selector);
  if (!link) return false;
  link.click();
};
onKey("e", follow("[data-edit]"));
onKey("j", follow("[data-next]"));
onKey("k", follow("[data-previous]"));

for (const notice of document.querySelectorAll("[data-changed-notice]")) {
  notice.addEventListener(`live:${notice.dataset.live}`, (event) => {
    if (!event.detail?.resync) notice.hidden = false;
  });
}
