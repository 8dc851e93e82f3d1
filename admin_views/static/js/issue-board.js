// The board: a card moves by dragging it to a column, or by the menu on it; which columns a step leads to stands on the card.
import { send } from "./csrf.js";
import { toast } from "./toasts.js";

const own = document.querySelector("[data-self]")?.dataset.self ?? location.href;
const said = document.querySelector("[data-board-said]");
let dragged = null;

const columns = () => document.querySelectorAll(".iss-col");
const targets = (card) => card.dataset.to.split(" ").filter(Boolean);

async function move(card, to) {
  try {
    const form = { to, row_version: card.dataset.version };
    const answer = await send(`/issues/${card.dataset.id}/move`, { method: "POST", form });
    if (answer.ask) return location.assign(answer.ask);
    toast("ok", answer.said);
    said.textContent = answer.said;
  } catch (error) {
    toast("error", error.message);
  }
  await redraw(card.dataset.id);
}

// The board as it is now, also where the live connection is away; the moved card keeps the focus.
async function redraw(id) {
  const answer = await fetch(own, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector('[data-part="board"]');
  document.querySelector('[data-part="board"]')?.replaceWith(fresh);
  document.querySelector(`.iss-card[data-id="${id}"] .iss-title`)?.focus();
}

function clear() {
  for (const column of columns()) column.classList.remove("over", "no");
  dragged?.classList.remove("dragged");
  dragged = null;
}

document.addEventListener("dragstart", (event) => {
  const card = event.target.closest?.(".iss-card");
  if (!card) return;
  dragged = card;
  card.classList.add("dragged");
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", card.dataset.id);
  for (const column of columns())
    column.classList.toggle("no", !column.contains(card) && !targets(card).includes(column.dataset.state));
});
document.addEventListener("dragover", (event) => {
  const column = event.target.closest?.(".iss-col");
  for (const each of columns()) each.classList.toggle("over", each === column && mayDrop(column));
  if (mayDrop(column)) event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const column = event.target.closest?.(".iss-col");
  if (!mayDrop(column)) return;
  event.preventDefault();
  const card = dragged;
  clear();
  move(card, column.dataset.state);
});
document.addEventListener("dragend", clear);

function mayDrop(column) {
  return Boolean(dragged && column && targets(dragged).includes(column.dataset.state));
}

document.addEventListener("click", (event) => {
  const choice = event.target.closest?.("[data-move]");
  if (choice) move(choice.closest(".iss-card"), choice.dataset.move);
});
// On a card, Alt with an arrow moves it to the next column on that side to which a step leads.
document.addEventListener("keydown", (event) => {
  const card = event.target.closest?.(".iss-card");
  if (!card || !event.altKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const order = [...columns()].map((column) => column.dataset.state);
  const at = order.indexOf(card.closest(".iss-col").dataset.state);
  const side = event.key === "ArrowRight" ? order.slice(at + 1) : order.slice(0, at).reverse();
  const to = side.find((state) => targets(card).includes(state));
  if (!to) return;
  event.preventDefault();
  move(card, to);
});
