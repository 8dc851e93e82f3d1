// Sign-in: show the password, warn about Caps Lock, fill a demo user's name, keep the theme on this device.
import "./dialogs.js";
import "./preferences.js";

const password = document.getElementById("password");
const email = document.getElementById("email");
const caps = document.querySelector("[data-caps]");

document.querySelector("[data-reveal]")?.addEventListener("click", (event) => {
  const shown = password.type === "text";
  password.type = shown ? "password" : "text";
  event.currentTarget.textContent = shown ? "Show" : "Hide";
  event.currentTarget.setAttribute("aria-pressed", String(!shown));
});
password?.addEventListener("keyup", (event) => {
  caps.hidden = !event.getModifierState?.("CapsLock");
});

for (const button of document.querySelectorAll("[data-demo-user]")) {
  button.addEventListener("click", () => {
    email.value = button.dataset.demoUser;
    for (const other of document.querySelectorAll("[data-demo-user]"))
      other.setAttribute("aria-pressed", String(other === button));
    password.focus();
  });
}
