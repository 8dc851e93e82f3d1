// A look-up: a combobox that searches on the server. GET <data-lookup-url>?q=words&limit=20 answers
//   {"items": [{"id", "label", "sub", "hint", "disabled", "reason"}], "more": true|false}
// The chosen id is in the hidden [data-lookup-value]; text that was never chosen is undone when the focus leaves.
import { send } from "./csrf.js";

const WAIT_MS = 180;
const LIMIT = 20;

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// The label with the typed words marked; built from text nodes, never from markup.
function marked(label, words) {
  const at = words ? label.toLowerCase().indexOf(words.toLowerCase()) : -1;
  if (at < 0) return [label];
  return [label.slice(0, at), make("mark", {}, label.slice(at, at + words.length)), label.slice(at + words.length)];
}

export function enhance(box) {
  if (box.dataset.ready) return;
  box.dataset.ready = "yes";
  const input = box.querySelector('[role="combobox"]');
  const value = box.querySelector("[data-lookup-value]");
  const clear = box.querySelector("[data-lookup-clear]");
  const listId = `${input.id}-list`;
  const list = make("div", { className: "lookup-list", id: listId, role: "listbox" });
  const note = make("span", {});
  const foot = make("div", { className: "lookup-foot" }, note);
  if (box.dataset.createHref)
    foot.append(
      make("a", { className: "s-link", href: box.dataset.createHref, target: "_blank", rel: "noopener" }, "New"),
    );
  const pop = make("div", { className: "lookup-pop", hidden: true }, list, foot);
  box.append(pop);
  let chosen = { id: value.value, label: input.value };
  let items = [];
  let at = -1;
  let timer = 0;
  let running = null;

  const close = () => {
    pop.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const choose = (item) => {
    chosen = item ? { id: item.id, label: item.label } : { id: "", label: "" };
    value.value = chosen.id;
    input.value = chosen.label;
    clear.hidden = !chosen.id;
    close();
    value.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const point = (index) => {
    at = index;
    [...list.children].forEach((option, position) => option.setAttribute("aria-selected", String(position === index)));
    const option = list.children[index];
    if (!option) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  const draw = (words, more) => {
    list.replaceChildren(
      ...items.map((item, index) => {
        const option = make(
          "div",
          { className: "s-res", id: `${listId}-${index}` },
          make(
            "div",
            {},
            make("b", {}, ...marked(item.label, words)),
            ...(item.sub ? [make("span", {}, item.sub)] : []),
          ),
        );
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        if (item.disabled) option.setAttribute("aria-disabled", "true");
        const hint = item.disabled ? item.reason : item.hint;
        if (hint) option.append(make("span", { className: "lim" }, hint));
        option.addEventListener("mousedown", (event) => {
          event.preventDefault();
          if (!item.disabled) choose(item);
        });
        return option;
      }),
    );
    note.textContent = items.length
      ? `${items.length} shown${more ? ", type more to narrow" : ""}`
      : "Nothing found. Try fewer letters.";
    const room = box.getBoundingClientRect();
    pop.classList.toggle("right", room.left + 330 > window.innerWidth && room.right > 330);
    pop.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point(items.findIndex((item) => !item.disabled));
  };
  const search = async () => {
    const words = input.value === chosen.label ? "" : input.value.trim();
    running?.abort();
    running = new AbortController();
    try {
      const url = new URL(box.dataset.lookupUrl, location.origin);
      url.searchParams.set("q", words);
      url.searchParams.set("limit", LIMIT);
      const answer = await send(url.href, { signal: running.signal });
      if (document.activeElement !== input) return;
      items = answer.items;
      draw(words, answer.more);
    } catch (error) {
      if (error.name === "AbortError") return;
      items = [];
      list.replaceChildren();
      note.textContent = `The search failed: ${error.message}`;
      pop.hidden = false;
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(search, WAIT_MS);
  };

  input.setAttribute("aria-controls", listId);
  input.addEventListener("input", later);
  input.addEventListener("click", () => {
    if (pop.hidden) search();
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (pop.hidden) return void search();
      let next = at;
      for (let tries = 0; tries < items.length; tries += 1) {
        next = (next + step + items.length) % items.length;
        if (!items[next].disabled) break;
      }
      point(next);
    } else if (event.key === "Enter" && !pop.hidden) {
      event.preventDefault();
      if (items[at] && !items[at].disabled) choose(items[at]);
    } else if (event.key === "Escape" && !pop.hidden) {
      event.preventDefault();
      event.stopPropagation();
      input.value = chosen.label;
      close();
    }
  });
  input.addEventListener("blur", () => {
    clearTimeout(timer);
    if (input.value.trim() === "" && chosen.id) choose(null);
    else input.value = chosen.label;
    close();
  });
  clear.addEventListener("click", () => {
    choose(null);
    input.focus();
  });
}

export function enhanceAll(root = document) {
  for (const box of root.querySelectorAll("[data-lookup-url]")) if (!box.closest("template")) enhance(box);
}
