// On a narrow screen the navigation is a drawer; it takes the focus while open and gives it back.
const shell = document.getElementById("shell");
const toggle = shell?.querySelector("[data-drawer-toggle]");

function setDrawer(open) {
  if (!shell || !toggle) return;
  if (open) shell.dataset.drawer = "open";
  else delete shell.dataset.drawer;
  toggle.setAttribute("aria-expanded", String(open));
  document.getElementById("main").inert = open;
  if (open) document.querySelector("#side-nav a")?.focus();
  else toggle.focus();
}

toggle?.addEventListener("click", () => setDrawer(shell.dataset.drawer !== "open"));
shell?.querySelector("[data-drawer-close]")?.addEventListener("click", () => setDrawer(false));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shell?.dataset.drawer === "open") setDrawer(false);
});
window.matchMedia("(min-width: 901px)").addEventListener("change", (event) => {
  if (event.matches && shell?.dataset.drawer) setDrawer(false);
});
