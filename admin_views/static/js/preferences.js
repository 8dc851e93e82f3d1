// Theme, contrast and density: applied at once, kept by the server for a signed-in user and on this device before sign-in.
import { csrfToken, send } from "./csrf.js";
import { toast } from "./toasts.js";

const ATTRIBUTES = { theme: "data-bs-theme", contrast: "data-contrast", density: "data-density" };
const root = document.documentElement;

function keepOnDevice(name, value) {
  try {
    localStorage.setItem(`steps.${name}`, value);
  } catch {
    /* storage is switched off: the choice lasts for this page */
  }
}

export async function setPreference(name, value) {
  const before = root.getAttribute(ATTRIBUTES[name]);
  root.setAttribute(ATTRIBUTES[name], value);
  keepOnDevice(name, value);
  for (const button of document.querySelectorAll(`[data-preference="${name}"]`))
    button.setAttribute("aria-pressed", String(button.dataset.value === value));
  document.dispatchEvent(new CustomEvent("steps:preference", { detail: { name, value, before } }));
  if (!csrfToken()) return; // nobody is signed in
  try {
    await send(`/preferences/${name}`, { method: "POST", form: { [name]: value } });
  } catch (error) {
    toast("warn", `The choice holds on this device only. ${error.message}`);
  }
}

for (const button of document.querySelectorAll("[data-preference]")) {
  button.addEventListener("click", () => setPreference(button.dataset.preference, button.dataset.value));
}
for (const button of document.querySelectorAll("[data-theme-toggle]")) {
  button.addEventListener("click", () =>
    setPreference("theme", root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark"),
  );
}
