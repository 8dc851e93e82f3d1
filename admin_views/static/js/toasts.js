// Short messages at the corner. kind: ok | warn | error | info.
const ICONS = { ok: "circle-check", warn: "alert-triangle", error: "alert-circle", info: "info-circle" };

export function toast(kind, text, milliseconds = kind === "error" ? 12000 : 5000) {
  const place = document.getElementById("toasts");
  if (!place) return;
  const box = document.createElement("div");
  box.className = `toast-s ${kind}`;
  if (kind === "error") box.setAttribute("role", "alert");
  const icon = Object.assign(document.createElement("i"), {
    className: `ti ti-${ICONS[kind] ?? ICONS.info}`,
    ariaHidden: "true",
  });
  const words = Object.assign(document.createElement("p"), { textContent: text });
  const close = Object.assign(document.createElement("button"), {
    className: "btn-s sm sq ghost",
    type: "button",
    ariaLabel: "Dismiss",
  });
  close.append(Object.assign(document.createElement("i"), { className: "ti ti-x", ariaHidden: "true" }));
  close.addEventListener("click", () => box.remove());
  box.append(icon, words, close);
  place.append(box);
  setTimeout(() => box.remove(), milliseconds);
}

document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401) return location.reload(); // the session ended: the server leads to sign-in
  toast(
    "error",
    status === 403 ? "You are not allowed to see this part." : `This part could not be loaded (error ${status}).`,
  );
});
