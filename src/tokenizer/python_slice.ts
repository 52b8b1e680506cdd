import { isInteger, itemsOf, make, textOf, type Value } from "./python_values.ts";

/** `value[start:stop:step]`; bounds that are undefined or none are the ends. Throws where Python fails. */
export function pythonSlice(value: Value, start: Value, stop: Value, step: Value): Value {
  const text = textOf(value);
  const items = text === undefined ? itemsOf(value) : Array.from(text);
  if (!items) throw new TypeError(`${value.type} has no parts`);
  const { length } = items;
  const by = bound(step) ?? 1;
  if (by === 0) throw new RangeError("a slice's step cannot be zero");
  const [least, most] = by > 0 ? [0, length] : [-1, length - 1];
  const place = (given: Value, otherwise: number) => {
    const at = bound(given);
    if (at === undefined) return otherwise;
    return Math.min(most, Math.max(least, at < 0 ? at + length : at));
  };
  const from = place(start, by > 0 ? least : most);
  const to = place(stop, by > 0 ? most : least);
  const count = Math.max(0, Math.ceil((to - from) / by));
  const part = Array.from({ length: count }, (_, i) => items[from + i * by]);
  if (text !== undefined) return make.text(part.join(""));
  return value.type === "TupleValue" ? make.tuple(part as Value[]) : make.list(part as Value[]);
}

function bound(given: Value): number | undefined {
  if (given.type === "UndefinedValue" || given.type === "NullValue") return undefined;
  if (isInteger(given)) return given.value as number;
  throw new TypeError(`a slice's bound is ${given.type}, expected an integer`);
}
