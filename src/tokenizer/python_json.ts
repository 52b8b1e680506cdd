import { floatText } from "./python_text.ts";
import { isFloat, itemsOf, mappingOf, textOf, type Value } from "./python_values.ts";

/**
 * What `tojson` makes of a value in chat templates, Python's `json.dumps` with `ensure_ascii=False`. `named`: its arguments `indent`, `separators`,
 * `sort_keys` and `ensure_ascii`. What is undefined is null.
 */
export function pythonJson(value: Value, named: ReadonlyMap<string, Value>): string {
  const indent = named.get("indent")?.value;
  const given = named.get("separators");
  const [comma, colon] = (given && itemsOf(given)?.map(textOf)) ??
    [typeof indent === "number" ? "," : ", ", ": "];
  const sorted = named.get("sort_keys")?.value === true;
  const ascii = named.get("ensure_ascii")?.value === true;
  const space = typeof indent === "number"
    ? " ".repeat(Math.min(indent, 32))
    : textOf(named.get("indent"));

  const quoted = (text: string) => {
    // Python escapes no more than JSON asks for, and a lone half of a surrogate as it is.
    const json = JSON.stringify(text);
    return ascii
      ? json.replace(
        /[\x7f-\uffff]/g,
        (one) => one === "\x7f" ? one : `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
      )
      : json;
  };
  const wrapped = (open: string, parts: string[], close: string, level: number) => {
    if (parts.length === 0) return open + close;
    if (space === undefined) return open + parts.join(comma) + close;
    const line = `\n${space.repeat(level)}`;
    return `${open}${line}${space}${parts.join(`${comma}${line}${space}`)}${line}${close}`;
  };
  const write = (one: Value, level: number): string => {
    const text = textOf(one);
    if (text !== undefined) return quoted(text);
    const items = itemsOf(one);
    if (items) return wrapped("[", items.map((item) => write(item, level + 1)), "]", level);
    const mapping = mappingOf(one);
    if (mapping) {
      const entries = sorted ? [...mapping].sort(([a], [b]) => a < b ? -1 : 1) : [...mapping];
      const parts = entries.map(([key, item]) =>
        quoted(String(key)) + colon + write(item, level + 1)
      );
      return wrapped("{", parts, "}", level);
    }
    switch (one.type) {
      case "NullValue":
      case "UndefinedValue":
        return "null";
      case "BooleanValue":
      case "IntegerValue":
        return String(one.value);
    }
    if (isFloat(one)) {
      const value = one.value as number;
      // Infinities and NaN are no JSON; Python writes them like JavaScript.
      return Number.isFinite(value) ? floatText(value) : String(value);
    }
    throw new TypeError(`tojson: ${one.type} is no JSON`);
  };
  return write(value, 0);
}
