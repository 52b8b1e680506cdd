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

/**
 * The values kept by this browser, by the controls' ids; none where what is kept is something else: other programs that
 * were served at this address share its storage.
 * @returns {Record<string, unknown>}
 */
function keptValues() {
  try {
    return JSON.parse(localStorage.getItem("settings") ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** Keeps the form's values over reloads of this browser. */
export function rememberSettings() {
  const form = field("sampling");
  const controls = [...form.querySelectorAll("input, textarea")];
  const kept = keptValues();
  for (const control of controls) {
    if (typeof kept[control.id] === "string") control.value = kept[control.id];
  }
  form.addEventListener("input", () => {
    const values = controls.map((control) => [control.id, control.value]);
    localStorage.setItem("settings", JSON.stringify(Object.fromEntries(values)));
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  if (matchMedia("(max-width: 760px)").matches) field("settings").open = false;
}
