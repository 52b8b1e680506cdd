/** The form of sampling controls. @module */

/** @param {string} id */
const field = (id) => document.getElementById(id);

/** @param {string} id */
function number(id) {
  const value = field(id).valueAsNumber;
  return Number.isNaN(value) ? undefined : value;
}

/** The system prompt, without blank ends; empty when there is none. */
export function systemPrompt() {
  return field("system").value.trim();
}

/** The request's fields that the form sets; an empty field is left to the server. */
export function samplingFields() {
  return {
    temperature: number("temperature"),
    max_tokens: number("max-tokens"),
    top_p: number("top-p"),
    top_k: number("top-k"),
    min_p: number("min-p"),
    frequency_penalty: number("frequency-penalty"),
    seed: number("seed"),
    stop: field("stop").value || undefined,
  };
}

/** Keeps the form's values over reloads of this browser. */
export function rememberSettings() {
  const form = field("sampling");
  const controls = [...form.querySelectorAll("input, textarea")];
  const stored = JSON.parse(localStorage.getItem("settings") ?? "{}");
  for (const control of controls) control.value = stored[control.id] ?? control.value;
  form.addEventListener("input", () => {
    const values = controls.map((control) => [control.id, control.value]);
    localStorage.setItem("settings", JSON.stringify(Object.fromEntries(values)));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  if (matchMedia("(max-width: 760px)").matches) field("settings").open = false;
}
