// One table of keys for the page. Keys are ignored while somebody types, and while a dialog is open.
const table = new Map();

export function onKey(key, action) {
  table.set(key, action);
}

export function isTyping(target) {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input:not([type=checkbox], [type=radio]), textarea, select"))
  );
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const action = table.get(event.key);
  if (action && action(event) !== false) event.preventDefault();
});

onKey("/", () => {
  const box = [...document.querySelectorAll("[data-search-box], [data-list-search]")].find((input) =>
    input.checkVisibility(),
  );
  if (!box) return false;
  box.focus();
  box.select();
});
onKey("?", () => {
  const dialog = document.getElementById("keys-dialog");
  if (!dialog) return false;
  dialog.showModal();
});
