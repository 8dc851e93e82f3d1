// Menus are <details>: they open without script. This closes them by Escape, by a click outside, and when another one opens.
// A menu that would leave the window at one side hangs from the other one.
function keepInside(pop) {
  if (!pop) return;
  const box = pop.getBoundingClientRect();
  if (box.right > document.documentElement.clientWidth) pop.classList.add("right");
  else if (box.left < 0) pop.classList.remove("right");
}

const openMenus = () => document.querySelectorAll("details.s-menu[open]");

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});
document.addEventListener(
  "toggle",
  (event) => {
    if (!(event.target instanceof HTMLDetailsElement) || !event.target.matches(".s-menu") || !event.target.open) return;
    keepInside(event.target.querySelector(":scope > .s-pop"));
    for (const menu of openMenus()) if (menu !== event.target && !menu.contains(event.target)) menu.open = false;
  },
  true,
);
