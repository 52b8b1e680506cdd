/** Light or dark: the system's choice until the button is pressed, then the visitor's. @module */

const root = document.documentElement;
const stored = localStorage.getItem("theme");
if (stored !== null) root.dataset.theme = stored;

document.querySelector("#theme")?.addEventListener("click", () => {
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (systemIsDark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});
