// Home: choosing several pieces of work. While some are chosen the page does not draw itself anew and lose the choice.
const home = () => document.getElementById("home");
const boxes = () => [...home().querySelectorAll("[data-pick]")];

function refresh() {
  const chosen = boxes().filter((box) => box.checked);
  const count = home().querySelector("[data-pick-count]");
  if (count) count.textContent = `${chosen.length} chosen`;
  // What can be done together follows from what was chosen.
  const parts = new Set(chosen.map((box) => box.dataset.pick));
  for (const button of home().querySelectorAll("[data-pick-for]")) button.hidden = !parts.has(button.dataset.pickFor);
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-group]")) {
    for (const box of event.target.closest("tbody").querySelectorAll("[data-pick]")) box.checked = event.target.checked;
  }
  if (event.target.matches("[data-pick], [data-pick-group]")) refresh();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-pick-clear]")) return;
  for (const box of home().querySelectorAll("[data-pick], [data-pick-group]")) box.checked = false;
  refresh();
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target === home() && boxes().some((box) => box.checked)) event.preventDefault();
});
document.addEventListener("htmx:afterSettle", refresh);
refresh();
