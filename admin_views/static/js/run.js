// The page of a run on a phone: the stage tree is a picker, closed until it is asked for.
const phone = matchMedia("(max-width: 760px)");

function fold() {
  const panel = document.querySelector(".stages-panel");
  if (panel && phone.matches) panel.open = false;
}

fold();
document.addEventListener("htmx:afterSwap", fold);

// A dialog in which somebody is writing stays as it is when the run changes.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  if (event.detail.target.querySelector("dialog[open]")) event.detail.shouldSwap = false;
});
