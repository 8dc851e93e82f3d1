// "Add filter": choose a field, an operator and a value; the condition joins the JSON filter in the address.
const builder = document.querySelector("[data-filter-builder]");
const list = document.querySelector("[data-list]");

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const icon = (name) => make("i", { className: `ti ti-${name}`, ariaHidden: "true" });

// A further condition joins the present ones with `and`.
export function withCondition(filter, condition) {
  if (!filter || !Object.keys(filter).length) return { and: [condition] };
  if (Array.isArray(filter.and) && Object.keys(filter).length === 1) return { and: [...filter.and, condition] };
  return { and: [filter, condition] };
}

// What is typed, as the grammar wants it: numbers stay text so that no digit of a decimal is lost; booleans are booleans.
export function typed(kind, text) {
  if (kind === "boolean") return text === "true";
  if (kind === "integer" && /^-?\d{1,15}$/.test(text)) return Number(text);
  return text;
}

export function valueInput(field, label) {
  if (field.kind === "boolean")
    return make(
      "select",
      { className: "s-input sm", ariaLabel: label },
      make("option", { value: "true" }, "Yes"),
      make("option", { value: "false" }, "No"),
    );
  if (field.options) {
    const select = make("select", { className: "s-input sm", ariaLabel: label });
    select.append(...field.options.map((option) => make("option", { value: option.value }, option.label)));
    return select;
  }
  if (field.lookup_url) {
    const box = make(
      "div",
      { className: "lookup" },
      make("input", { type: "hidden" }),
      make(
        "div",
        { className: "s-input sm" },
        icon("search"),
        make("input", { ariaLabel: label, autocomplete: "off", placeholder: "Type to search" }),
        make(
          "button",
          { type: "button", className: "clear", hidden: true, ariaLabel: "Clear", tabIndex: -1 },
          icon("x"),
        ),
      ),
    );
    box.dataset.lookupUrl = field.lookup_url;
    box.firstChild.dataset.lookupValue = "";
    box.querySelector("button").dataset.lookupClear = "";
    box.querySelector(".s-input input").setAttribute("role", "combobox");
    box.querySelector(".s-input input").id = `filter-lookup-${Math.random().toString(36).slice(2)}`;
    import("./lookup.js").then(({ enhance }) => enhance(box));
    return box;
  }
  const type = { date: "date", datetime: "datetime-local", time: "time", integer: "number" }[field.kind] ?? "text";
  const input = make("input", { className: "s-input sm", type, ariaLabel: label, required: true });
  if (["decimal", "money", "percent"].includes(field.kind)) input.inputMode = "decimal";
  return input;
}
export const readValue = (element) =>
  element.matches(".lookup") ? element.querySelector("[data-lookup-value]").value : element.value;

function showField(field) {
  const form = builder.querySelector("[data-condition]");
  const operator = make("select", {
    className: "s-input sm",
    id: "filter-operator",
    ariaLabel: `Condition on ${field.label}`,
  });
  operator.append(...field.operators.map((option) => make("option", { value: option.code }, option.label)));
  const place = make("div", {});
  const problem = make("p", { className: "s-err", hidden: true, role: "alert" });
  let read = () => undefined;

  const showOperator = () => {
    const takes = field.operators.find((option) => option.code === operator.value).takes;
    if (takes === "none") {
      place.replaceChildren();
      read = () => true;
      return;
    }
    if (takes === "two") {
      const [from, to] = [valueInput(field, "From"), valueInput(field, "To")];
      place.replaceChildren(make("div", { className: "two-values" }, from, "to", to));
      read = () => [typed(field.kind, readValue(from)), typed(field.kind, readValue(to))];
      return;
    }
    if (takes === "many" && field.options) {
      const choices = field.options.map((option) =>
        make("label", { className: "s-check" }, make("input", { type: "checkbox", value: option.value }), option.label),
      );
      place.replaceChildren(make("div", { className: "choices" }, ...choices));
      read = () => [...place.querySelectorAll("input:checked")].map((box) => box.value);
      return;
    }
    const input = valueInput(field, "Value");
    place.replaceChildren(input);
    if (takes === "many" && !field.lookup_url)
      place.append(make("p", { className: "s-help" }, "Separate several values with commas."));
    read = () =>
      takes === "many"
        ? readValue(input)
            .split(",")
            .map((part) => part.trim())
            .filter(Boolean)
            .map((part) => typed(field.kind, part))
        : typed(field.kind, readValue(input).trim());
  };
  operator.addEventListener("change", showOperator);
  form.replaceChildren(
    make("div", {}, make("label", { className: "s-label", htmlFor: "filter-operator" }, field.label), operator),
    place,
    problem,
    make(
      "div",
      { className: "foot" },
      make("button", { className: "btn-s sm primary" }, "Apply"),
      Object.assign(make("button", { className: "btn-s sm ghost", type: "button" }, "Cancel"), {
        onclick: () => {
          builder.open = false;
        },
      }),
    ),
  );
  showOperator();
  form.onsubmit = (event) => {
    event.preventDefault();
    const value = read();
    const missing = value === "" || (Array.isArray(value) && (!value.length || value.includes("")));
    problem.hidden = !missing;
    problem.textContent = missing ? "Give a value." : "";
    if (missing) return;
    const condition = { [field.path]: { [operator.value]: value } };
    const url = new URL(list.dataset.base, location.origin);
    for (const [name, kept] of new URL(location.href).searchParams)
      if (name !== "cursor" && name !== "filter") url.searchParams.append(name, kept);
    url.searchParams.set("filter", JSON.stringify(withCondition(JSON.parse(list.dataset.filter), condition)));
    location.href = url.href;
  };
}

function showFields(fields, words) {
  const place = builder.querySelector("[data-field-list]");
  const found = fields.filter((field) =>
    `${field.group ?? ""} ${field.label}`.toLowerCase().includes(words.toLowerCase()),
  );
  const parts = [];
  let group;
  for (const field of found) {
    const heading = field.group ?? "Fields";
    if (heading !== group) parts.push(make("p", { className: "s-cap" }, heading));
    group = heading;
    const button = make("button", { className: "s-opt", type: "button" }, icon(field.icon || "filter"), field.label);
    button.addEventListener("click", () => {
      for (const other of place.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      showField(field);
      builder.querySelector("#filter-operator").focus();
    });
    parts.push(button);
  }
  place.replaceChildren(...(parts.length ? parts : [make("p", { className: "s-help" }, "No field has this name.")]));
}

if (builder) {
  const fields = JSON.parse(builder.dataset.fields);
  const search = builder.querySelector("[data-field-search]");
  search.addEventListener("input", () => showFields(fields, search.value));
  builder.addEventListener("toggle", () => {
    if (builder.open) search.focus();
  });
  showFields(fields, "");
}
