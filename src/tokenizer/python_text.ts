/** A value within a template, as the template engine holds it. */
interface TemplateValue {
  readonly type: string;
  readonly value: unknown;
}

/**
 * What Python's `str` makes of a value, which templates were written for: `{'a': [True, None]}`, not JSON. Strings stay as they are, what is
 * undefined is no text.
 *
 * @param value a string, number, boolean, null or undefined, an array of the engine's values, or a map to them
 */
export function pythonText(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : representation(value);
}

function representation(value: unknown): string {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `[${value.map(inner).join(", ")}]`;
  if (value instanceof Map) {
    return `{${
      [...value].map(([key, one]) => `${quoted(String(key))}: ${inner(one)}`).join(", ")
    }}`;
  }
  return String(value);
}

function inner(held: TemplateValue): string {
  if (held.type === "NullValue") return "None";
  if (held.type === "UndefinedValue") return "Undefined";
  if (held.type === "TupleValue") {
    return `(${(held.value as TemplateValue[]).map(inner).join(", ")})`;
  }
  // The engine writes numbers that are no integers as Python does: 1.0.
  return typeof held.value === "number" ? String(held) : representation(held.value);
}

const escapes: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A string as Python's `repr` writes it: in single quotes where it has none or both kinds, what cannot be printed escaped. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\\p{C}\p{Z}]/gu, (character) => {
    if (character === " ") return character;
    const code = character.codePointAt(0)!;
    const hex = code.toString(16);
    return escapes[character] ??
      (code < 0x100
        ? `\\x${hex.padStart(2, "0")}`
        : code < 0x10000
        ? `\\u${hex.padStart(4, "0")}`
        : `\\U${hex.padStart(8, "0")}`);
  });
  return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
}
