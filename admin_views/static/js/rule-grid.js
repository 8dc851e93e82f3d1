// A grid of text cells that is worked on like a spreadsheet: arrows, Enter, Tab, Esc, typing, copy and paste of blocks,
// rows that are moved by Alt and arrows or by their handle. What the cells mean is the business of the model:
//   columns()  list of {key, title, sub, kind, edit}    edit(): opens what changes the column
//   count()    number of rows;   name(row)   what stands before the row
//   get(row, key), set(row, key, text)
//   mark(row, key) -> {problem, tone}   rowMark(row) -> {tone, icon, words}
//   add(at), remove(row), duplicate(row), move(from, to)   or absent, where rows are given
//   changed(what)   after any of these;   focused(row, key)
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export function element(tag, properties = {}, ...children) {
  const { dataset, attributes, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name) {
  return element("i", { className: `ti ti-${name}`, ariaHidden: "true" });
}

export class Grid {
  constructor(table, model, { editable, label }) {
    Object.assign(this, { table, model, editable, at: { row: 0, column: 0 }, editor: null, dragged: null });
    table.setAttribute("role", "grid");
    table.setAttribute("aria-label", label);
    if (!editable) table.setAttribute("aria-readonly", "true");
    table.addEventListener("keydown", (event) => this.key(event));
    table.addEventListener("focusin", (event) => this.focusin(event));
    table.addEventListener("dblclick", (event) => event.target.closest("[data-cell]") && this.edit());
    table.addEventListener("copy", (event) => this.copy(event));
    table.addEventListener("paste", (event) => this.paste(event));
    table.addEventListener("click", (event) => this.click(event));
    for (const name of ["dragstart", "dragover", "drop", "dragend"])
      table.addEventListener(name, (event) => this.drag(event));
  }

  draw() {
    const columns = this.model.columns();
    const head = element("tr", {}, element("th", { className: "no", scope: "col", textContent: "#" }));
    columns.forEach((column) => head.append(this.head(column)));
    if (this.editable && this.model.remove) head.append(element("th", { className: "acts", ariaLabel: "Row" }));
    const body = element("tbody");
    for (let row = 0; row < this.model.count(); row++) body.append(this.row(row, columns));
    this.table.replaceChildren(element("thead", {}, head), body);
    this.marks();
  }

  head(column) {
    const words = [element("span", { className: "t", textContent: column.title })];
    if (column.sub) words.push(element("span", { className: "u", textContent: column.sub }));
    const inner =
      this.editable && column.edit
        ? element("button", { type: "button", className: "hd", title: "Change this column" }, ...words)
        : element("span", { className: "hd" }, ...words);
    if (inner.type === "button") inner.addEventListener("click", column.edit);
    return element("th", { className: column.kind, scope: "col" }, inner);
  }

  row(row, columns) {
    const handle = this.editable && this.model.move;
    const number = element("th", { className: "no", scope: "row", draggable: Boolean(handle) }, this.model.name(row));
    if (handle) number.title = "Drag to move, or Alt and the up and down keys";
    const line = element("tr", { dataset: { row } }, number);
    columns.forEach((column, place) => {
      const cell = element("td", {
        className: column.kind,
        tabIndex: -1,
        dataset: { cell: "", row, column: place },
        attributes: { role: "gridcell" },
      });
      cell.append(element("span", { className: "v", textContent: this.model.get(row, column.key) }));
      line.append(cell);
    });
    if (this.editable && this.model.remove) line.append(this.actions(row));
    return line;
  }

  actions(row) {
    const button = (act, name, words) =>
      element(
        "button",
        { type: "button", className: "btn-s sm sq ghost", ariaLabel: words, title: words, dataset: { act, row } },
        icon(name),
      );
    const moves = this.model.move
      ? [button("up", "arrow-up", `Move row ${row + 1} up`), button("down", "arrow-down", `Move row ${row + 1} down`)]
      : [];
    const copy = button("duplicate", "copy", `Duplicate row ${row + 1}`);
    return element("td", { className: "acts" }, ...moves, copy, button("remove", "trash", `Delete row ${row + 1}`));
  }

  // Tones and problems, on the cells that are there.
  marks() {
    const columns = this.model.columns();
    for (const line of this.table.tBodies[0]?.rows ?? []) {
      const row = Number(line.dataset.row);
      const mark = this.model.rowMark?.(row) ?? {};
      line.className = mark.tone ?? "";
      const number = line.cells[0];
      number.replaceChildren(this.model.name(row));
      if (mark.icon) number.append(icon(mark.icon), element("span", { className: "vh", textContent: mark.words }));
      for (const cell of line.querySelectorAll("[data-cell]")) {
        const found = this.model.mark?.(row, columns[cell.dataset.column].key) ?? {};
        cell.classList.toggle("bad", Boolean(found.problem));
        cell.classList.toggle("stopped", found.tone === "stopped");
        cell.toggleAttribute("aria-invalid", Boolean(found.problem));
        cell.querySelector(".e")?.remove();
        if (found.problem) cell.append(element("span", { className: "e", textContent: found.problem }));
      }
    }
    const here = this.cell(this.at.row, this.at.column) ?? this.table.querySelector("[data-cell]");
    for (const cell of this.table.querySelectorAll('[data-cell][tabindex="0"]')) cell.tabIndex = -1;
    if (here) here.tabIndex = 0;
  }

  cell(row, column) {
    return this.table.querySelector(`[data-cell][data-row="${row}"][data-column="${column}"]`);
  }

  go(row, column) {
    const rows = this.model.count();
    const columns = this.model.columns().length;
    if (!rows || !columns) return;
    this.at = { row: Math.min(Math.max(row, 0), rows - 1), column: Math.min(Math.max(column, 0), columns - 1) };
    this.marks();
    const cell = this.cell(this.at.row, this.at.column);
    cell?.focus();
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  find(row, key) {
    const column = this.model.columns().findIndex((candidate) => candidate.key === key);
    this.go(row, Math.max(column, 0));
  }

  focusin(event) {
    const cell = event.target.closest("[data-cell]");
    if (!cell) return;
    this.at = { row: Number(cell.dataset.row), column: Number(cell.dataset.column) };
    this.model.focused?.(this.at.row, this.key_());
  }

  key_() {
    return this.model.columns()[this.at.column]?.key;
  }

  key(event) {
    if (this.editor) return this.editing(event);
    if (!event.target.closest("[data-cell]")) return;
    const { row, column } = this.at;
    const move = MOVES[event.key];
    if (event.altKey && move?.[0] && this.editable && this.model.move) this.act(move[0] < 0 ? "up" : "down", row);
    else if (event.altKey && event.code === "KeyN" && this.editable && this.model.add) this.act("add", row + 1);
    else if ((event.ctrlKey || event.metaKey) && event.key === "d" && this.editable && this.model.duplicate)
      this.act("duplicate", row);
    else if ((event.ctrlKey || event.metaKey) && event.key === "Backspace" && this.editable && this.model.remove)
      this.act("remove", row);
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (move) this.go(row + move[0], column + move[1]);
    else if (event.key === "Home") this.go(row, 0);
    else if (event.key === "End") this.go(row, Infinity);
    else if (event.key === "PageUp" || event.key === "PageDown") this.go(row + (event.key === "PageUp" ? -10 : 10), column);
    else if (event.key === "Tab") {
      const last = event.shiftKey ? row === 0 && column === 0 : this.isLast(row, column);
      if (last) return; // out of the grid, as everywhere
      this.step(event.shiftKey ? -1 : 1);
    } else if (!this.editable) return;
    else if (event.key === "Enter" || event.key === "F2") this.edit();
    else if (event.key === "Delete" || event.key === "Backspace") this.put([[""]]);
    else if (event.key.length === 1) this.edit(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  isLast(row, column) {
    return row === this.model.count() - 1 && column === this.model.columns().length - 1;
  }

  step(by) {
    const columns = this.model.columns().length;
    const place = this.at.row * columns + this.at.column + by;
    this.go(Math.floor(place / columns), ((place % columns) + columns) % columns);
  }

  edit(typed = null) {
    const cell = this.cell(this.at.row, this.at.column);
    if (!this.editable || this.editor || !cell) return;
    const columns = this.model.columns();
    const value = this.model.get(this.at.row, columns[this.at.column].key);
    const input = element("input", { className: "ed", value: typed ?? value, spellcheck: false, autocomplete: "off" });
    input.setAttribute("aria-label", `${columns[this.at.column].title}, row ${this.at.row + 1}`);
    const list = columns[this.at.column].list;
    if (list) input.setAttribute("list", list);
    this.editor = { input, cell, value };
    cell.classList.add("editing");
    cell.replaceChildren(input);
    input.focus();
    if (typed === null) input.select();
    input.addEventListener("blur", () => this.close(true, false));
  }

  editing(event) {
    const keys = { Enter: event.shiftKey ? [-1, 0] : [1, 0], Tab: event.shiftKey ? [0, -1] : [0, 1] };
    if (event.key === "Escape") this.close(false, true);
    else if (keys[event.key]) {
      const { row, column } = this.at;
      this.close(true, true);
      if (event.key === "Tab") {
        if (event.shiftKey || !this.isLast(row, column)) this.step(event.shiftKey ? -1 : 1);
      } else this.go(row + keys.Enter[0], column);
    } else return event.stopPropagation();
    event.preventDefault();
    event.stopPropagation();
  }

  close(keep, focus) {
    if (!this.editor) return;
    const { input, cell, value } = this.editor;
    this.editor = null;
    const text = keep ? input.value.trim() : value;
    cell.classList.remove("editing");
    cell.replaceChildren(element("span", { className: "v", textContent: text }));
    if (text !== value) {
      const key = this.model.columns()[cell.dataset.column].key;
      this.model.set(Number(cell.dataset.row), key, text);
      this.model.changed("cell");
    }
    this.marks();
    if (focus) cell.focus();
  }

  // A block of texts, from the current cell on; rows that are missing are added.
  put(block) {
    const columns = this.model.columns();
    const { row, column } = this.at;
    block.forEach((texts, down) => {
      if (row + down >= this.model.count()) {
        if (!this.model.add) return;
        this.model.add(this.model.count());
      }
      texts.forEach((text, right) => {
        const target = columns[column + right];
        if (target) this.model.set(row + down, target.key, text.trim());
      });
    });
    this.model.changed("block");
    this.draw();
    this.go(row, column);
  }

  copy(event) {
    if (this.editor || !event.target.closest("[data-cell]")) return;
    event.clipboardData.setData("text/plain", this.model.get(this.at.row, this.key_()));
    event.preventDefault();
  }

  paste(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (!this.editable || !event.target.closest("[data-cell]")) return;
    const lines = text.replace(/\r\n?/g, "\n").replace(/\n$/, "").split("\n");
    if (this.editor && lines.length === 1 && !text.includes("\t")) return; // a text into a text
    event.preventDefault();
    this.close(false, false);
    this.put(lines.map((line) => line.split("\t").map(unquoted)));
  }

  click(event) {
    const button = event.target.closest("[data-act]");
    if (button) return this.act(button.dataset.act, Number(button.dataset.row));
    const cell = event.target.closest("[data-cell]");
    if (cell && !this.editor) {
      const again = cell.tabIndex === 0 && event.detail === 1 && cell.dataset.seen;
      for (const other of this.table.querySelectorAll("[data-seen]")) delete other.dataset.seen;
      cell.dataset.seen = "1";
      this.go(Number(cell.dataset.row), Number(cell.dataset.column));
      if (again) this.edit(); // a second tap edits, as a finger has no double click
    }
  }

  act(name, row) {
    const last = this.model.count() - 1;
    const to = { up: row - 1, down: row + 1, add: row, duplicate: row + 1, remove: Math.min(row, last - 1) }[name];
    if ((name === "up" && row === 0) || (name === "down" && row === last)) return;
    if (name === "up" || name === "down") this.model.move(row, to);
    else this.model[name](row);
    this.model.changed(name);
    this.draw();
    this.go(to, this.at.column);
  }

  drag(event) {
    const line = event.target.closest("tr[data-row]");
    if (event.type === "dragstart") {
      if (!event.target.matches("th.no") || !this.model.move) return;
      this.dragged = Number(line.dataset.row);
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", String(this.dragged));
      return line.classList.add("dragged");
    }
    if (this.dragged === null) return;
    if (event.type === "dragend") {
      this.dragged = null;
      return this.marks();
    }
    if (!line) return;
    event.preventDefault();
    if (event.type !== "drop") return;
    const to = Number(line.dataset.row);
    this.model.move(this.dragged, to);
    this.dragged = null;
    this.model.changed("move");
    this.draw();
    this.go(to, this.at.column);
  }
}

// A cell of a spreadsheet that holds a quote, a tab or a line break comes in quotes, with its quotes doubled.
function unquoted(text) {
  return /^".*"$/s.test(text) ? text.slice(1, -1).replaceAll('""', '"') : text;
}
