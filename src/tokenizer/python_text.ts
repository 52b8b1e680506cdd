import { isFloat, itemsOf, mappingOf, ofKey, textOf, type Value } from "./python_values.ts";

/**
 * What Python's `str` makes of a value, which templates were written for: `{'a': [True, None]}`, not JSON. What is undefined is no text.
 */
export function pythonText(value: Value): string {
  return textOf(value) ?? (value.type === "UndefinedValue" ? "" : representation(value));
}

function representation(value: Value): string {
  const text = textOf(value);
  if (text !== undefined) return quoted(text);
  const mapping = mappingOf(value);
  if (mapping) {
    return `{${
      [...mapping].map(([key, one]) => `${representation(ofKey(key))}: ${representation(one)}`)
        .join(", ")
    }}`;
  }
  const items = itemsOf(value)?.map(representation);
  if (items && value.type === "TupleValue") {
    return `(${items.join(", ")}${items.length === 1 ? "," : ""})`;
  }
  if (items) return `[${items.join(", ")}]`;
  switch (value.type) {
    case "NullValue":
      return "None";
    case "UndefinedValue":
      return "Undefined";
    case "BooleanValue":
      return value.value ? "True" : "False";
  }
  return isFloat(value) ? floatText(value.value as number) : String(value.value);
}

/** What Python writes for a number of type `float`: `1.0`, `1e-07`, `1e+16`, `inf`. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").toLowerCase();
  if (Object.is(value, -0)) return "-0.0";
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return `${value}.0`;
  const [digits, exponent] = value.toExponential().split("e");
  if (Number(exponent) >= -4 && Number(exponent) < 16) return String(value);
  return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
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
