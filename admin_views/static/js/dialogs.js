// [data-dialog="id"] opens <dialog id="id">, [data-dialog-close] closes it. Works for parts that htmx swapped in as well.
document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const opener = target?.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    for (const menu of document.querySelectorAll("details.s-menu[open]")) menu.open = false;
    if (dialog instanceof HTMLDialogElement && !dialog.open) {
      dialog.showModal();
      dialog.dispatchEvent(new CustomEvent("steps:dialog-open", { detail: { opener } }));
    }
    return;
  }
  if (target?.closest("[data-dialog-close]")) return target.closest("dialog")?.close();
  // a click on the backdrop lands on the dialog itself, outside its box
  if (target instanceof HTMLDialogElement && target.open) {
    const box = target.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!inside && event.detail > 0) target.close();
  }
});

// A refused change is answered with the page at the address of the change. What a reload must show is in data-self; the
// dialog in which it was made is open again, with what was typed.
const own = document.querySelector("[data-self]")?.dataset.self;
if (own && new URL(own, location.href).pathname !== location.pathname) history.replaceState(null, "", own);
const refused = document.querySelector("dialog[data-open]");
if (refused && !refused.open) {
  refused.showModal();
  (refused.querySelector("[aria-invalid]") ?? refused.querySelector("textarea, select, input:not([type=hidden])"))?.focus();
}

// A form marked data-submit-once is sent once: the button shows that it works, a second press does nothing.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.matches("[data-submit-once]") || event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // back to a kept page: its forms can be sent again
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy=true]")) button.removeAttribute("aria-busy");
});

// A refused action stays focusable and does nothing but say why.
document.addEventListener(
  "click",
  (event) => {
    const locked = event.target instanceof Element ? event.target.closest('[aria-disabled="true"]') : null;
    if (locked) event.preventDefault();
  },
  true,
);
