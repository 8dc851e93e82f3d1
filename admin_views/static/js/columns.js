// The column chooser writes ?columns=a,b in the order shown; the first page of the list is then asked for again.
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
  event.preventDefault();
  const columns = [...chooser.querySelectorAll('input[name="column"]')]
    .filter((box) => box.checked)
    .map((box) => box.value);
  const url = new URL(location.href);
  url.searchParams.set("columns", columns.join(","));
  url.searchParams.delete("cursor");
  location.href = url.href;
});
