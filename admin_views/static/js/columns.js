// The column chooser sends the boxes in the order shown. What the address of the list says besides goes with it.
const chooser = document.querySelector("[data-columns]");

chooser?.addEventListener("click", (event) => {
  const button = event.target.closest("[data-move]");
  if (!button) return;
  const row = button.closest(".s-opt");
  const neighbour = button.dataset.move === "up" ? row.previousElementSibling : row.nextElementSibling;
  if (!neighbour || neighbour.querySelector("input").disabled) return;
  if (button.dataset.move === "up") neighbour.before(row);
  else neighbour.after(row);
  button.focus();
});
chooser?.querySelector("form").addEventListener("submit", (event) => {
  const url = new URL(event.target.action);
  url.search = location.search;
  for (const name of ["columns", "cursor", "trail", "offset"]) url.searchParams.delete(name);
  event.target.action = url.href;
});
