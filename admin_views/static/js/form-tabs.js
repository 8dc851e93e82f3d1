// The tabs of a form are parts of one <form>: hidden parts are posted too. Arrow keys move, and an invalid part opens itself.
export function showPart(part) {
  const bar = document.querySelector("[data-form-tabs]");
  if (!bar || !part) return;
  for (const tab of bar.querySelectorAll('[role="tab"]')) {
    const on = tab.getAttribute("aria-controls") === part.id;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
  }
}
export const showPartOf = (element) => showPart(element?.closest("[data-form-part]"));

const bar = document.querySelector("[data-form-tabs]");
if (bar) {
  const tabs = [...bar.querySelectorAll('[role="tab"]')];
  const partOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  for (const tab of tabs) tab.addEventListener("click", () => showPart(partOf(tab)));
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = tabs.indexOf(document.activeElement);
    if (!step || here < 0) return;
    event.preventDefault();
    const next = tabs[(here + step + tabs.length) % tabs.length];
    showPart(partOf(next));
    next.focus();
  });
  showPart(partOf(tabs.find((tab) => tab.querySelector(".err")) ?? tabs[0]));
}
