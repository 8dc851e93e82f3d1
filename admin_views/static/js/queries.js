// Queries: @ completes the names of people who see the record, and a thread that was in view has been read.
import { send } from "./csrf.js";

const TYPED = /(?:^|[\s(])@([\w.+-]*)$/;
const MOST = 8;
const SEEN_MS = 1500;
const known = new Map();

async function peopleOf(url) {
  if (!known.has(url)) known.set(url, send(url).then((data) => data.items));
  try {
    return await known.get(url);
  } catch {
    known.delete(url);
    return [];
  }
}

let open = null; // { box, list, items, at }

function close() {
  if (!open) return;
  open.box.removeAttribute("aria-activedescendant");
  open.box.removeAttribute("aria-controls");
  open.list.remove();
  open = null;
}

function point(at) {
  open.at = at;
  [...open.list.children].forEach((line, index) => line.setAttribute("aria-selected", String(index === at)));
  open.list.children[at].scrollIntoView({ block: "nearest" });
  open.box.setAttribute("aria-activedescendant", open.list.children[at].id);
}

function choose(person) {
  const { box } = open;
  const before = box.value.slice(0, box.selectionStart).replace(/@[\w.+-]*$/, `@${person.handle} `);
  box.setRangeText(before, 0, box.selectionStart, "end");
  close();
  box.focus();
}

async function complete(box) {
  const typed = TYPED.exec(box.value.slice(0, box.selectionStart))?.[1];
  if (typed === undefined) return close();
  const words = typed.toLowerCase();
  const people = await peopleOf(box.dataset.people);
  const items = people.filter((p) => p.handle.includes(words) || p.name.toLowerCase().includes(words)).slice(0, MOST);
  close();
  if (!items.length || document.activeElement !== box) return;
  const list = document.createElement("ul");
  list.className = "q-pick";
  list.id = `${box.id}-people`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "People");
  list.append(
    ...items.map((person, index) => {
      const line = document.createElement("li");
      const handle = document.createElement("span");
      handle.textContent = `@${person.handle}`;
      line.id = `${list.id}-${index}`;
      line.setAttribute("role", "option");
      line.append(person.name, handle);
      line.addEventListener("mousedown", (event) => {
        event.preventDefault();
        choose(person);
      });
      return line;
    }),
  );
  list.style.top = `${box.offsetTop + box.offsetHeight + 3}px`;
  list.style.left = `${box.offsetLeft}px`;
  box.after(list);
  open = { box, list, items, at: 0 };
  box.setAttribute("aria-controls", list.id);
  point(0);
}

const isBox = (target) => target instanceof HTMLTextAreaElement && Boolean(target.dataset.people);

document.addEventListener("input", (event) => {
  if (isBox(event.target)) complete(event.target);
});
document.addEventListener("keydown", (event) => {
  if (!open || event.target !== open.box) return;
  const count = open.items.length;
  if (event.key === "ArrowDown") point((open.at + 1) % count);
  else if (event.key === "ArrowUp") point((open.at + count - 1) % count);
  else if (event.key === "Enter" || event.key === "Tab") choose(open.items[open.at]);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("focusout", (event) => {
  if (open && event.target === open.box) close();
});

const timers = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    clearTimeout(timers.get(target));
    if (isIntersecting) timers.set(target, setTimeout(() => markRead(target), SEEN_MS));
  }
});

async function markRead(thread) {
  const url = thread.dataset.unread;
  if (!url) return;
  delete thread.dataset.unread;
  seen.unobserve(thread);
  try {
    await send(url, { method: "POST" });
  } catch {
    /* it stays unread, and is tried again with the next page */
  }
}

const watchAll = () => document.querySelectorAll("[data-unread]").forEach((thread) => seen.observe(thread));
watchAll();
new MutationObserver(watchAll).observe(document.querySelector("main") ?? document.body, { childList: true, subtree: true });
