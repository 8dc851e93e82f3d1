// Runs before the first paint of pages without a signed-in user, so that the theme kept on this device does not flash.
(function () {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem("steps." + name);
    } catch {
      return null;
    }
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.setAttribute("data-bs-theme", kept("theme") || (dark ? "dark" : "light"));
  root.setAttribute(
    "data-contrast",
    kept("contrast") || (window.matchMedia("(prefers-contrast: more)").matches ? "high" : "normal"),
  );
})();
