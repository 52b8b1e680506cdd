import {
  isFloat,
  isInteger,
  itemsOf,
  keyOf,
  make,
  mappingOf,
  numberOf,
  textOf,
  type Value,
} from "./python_values.ts";
import { pythonText } from "./python_text.ts";

/** `a operator b` as in Python. Throws where it fails there, and for what is not supported. */
export function pythonOperation(operator: string, a: Value, b: Value): Value {
  switch (operator) {
    case "==":
      return make.boolean(pythonEqual(a, b));
    case "!=":
      return make.boolean(!pythonEqual(a, b));
    case "in":
      return make.boolean(pythonContains(a, b));
    case "not in":
      return make.boolean(!pythonContains(a, b));
    case "<":
      return make.boolean(order(operator, a, b) < 0);
    case "<=":
      return make.boolean(order(operator, a, b) <= 0);
    case ">":
      return make.boolean(order(operator, a, b) > 0);
    case ">=":
      return make.boolean(order(operator, a, b) >= 0);
    case "~":
      return make.text(pythonText(a) + pythonText(b));
  }
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) {
    return arithmetic(operator, x, y, isFloat(a) || isFloat(b));
  }
  const [list, other] = [itemsOf(a), itemsOf(b)];
  if (operator === "+") {
    if (list && other && a.type === b.type && list.length + other.length <= MOST) {
      return copyOf(a, [...list, ...other]);
    }
    const text = textOf(a) ?? textOf(b);
    // Python adds nothing else to a text; the engine does, so that templates which were tried with such alone go on working.
    if (text !== undefined && known(a) && known(b)) return make.text(`${a.value}${b.value}`);
  }
  if (operator === "*") {
    const [what, times] = isInteger(b) ? [a, y!] : [b, isInteger(a) ? x! : NaN];
    const count = Math.max(0, times);
    const [text, items] = [textOf(what), itemsOf(what)];
    if (text !== undefined && count * text.length <= MOST) return make.text(text.repeat(count));
    if (items && count * items.length <= MOST) {
      return copyOf(what, Array.from({ length: count }, () => items).flat());
    }
  }
  throw new TypeError(`operator "${operator}" between ${a.type} and ${b.type}`);
}

/** Characters or items that `*`, and items that `+` makes at most. */
const MOST = 1 << 20;

function known({ type }: Value): boolean {
  return type !== "NullValue" && type !== "UndefinedValue";
}

function copyOf(list: Value, items: Value[]): Value {
  return list.type === "TupleValue" ? make.tuple(items) : make.list(items);
}

function arithmetic(operator: string, x: number, y: number, float: boolean): Value {
  const number = float ? make.float : make.integer;
  if (y === 0 && ["/", "//", "%"].includes(operator)) throw new RangeError("division by zero");
  switch (operator) {
    case "+":
      return number(x + y);
    case "-":
      return number(x - y);
    case "*":
      return number(x * y);
    case "/":
      return make.float(x / y);
    case "//":
      return number(Math.floor(x / y));
    case "%": {
      // Of the divisor's sign.
      const rest = x % y;
      return number(rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest);
    }
    case "**": {
      const power = x ** y;
      if (!Number.isFinite(power)) throw new RangeError(`${x} ** ${y} is no finite number`);
      return float || y < 0 ? make.float(power) : make.integer(power);
    }
  }
  throw new TypeError(`operator "${operator}" between numbers`);
}

/** Negative where `a` comes before `b`, zero where they are equal. Throws where Python does not compare them. */
export function order(operator: string, a: Value, b: Value): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  const [text, other] = [textOf(a), textOf(b)];
  if (text !== undefined && other !== undefined) return text === other ? 0 : inOrder(text, other);
  const [list, rest] = [itemsOf(a), itemsOf(b)];
  if (!list || !rest || a.type !== b.type) {
    throw new TypeError(`operator "${operator}" between ${a.type} and ${b.type}`);
  }
  const at = list.findIndex((one, i) => i >= rest.length || !pythonEqual(one, rest[i]));
  if (at < 0) return list.length - rest.length;
  return at >= rest.length ? 1 : order(operator, list[at], rest[at]);
}

/** By code points, which UTF-16 does not keep in order. */
function inOrder(a: string, b: string): number {
  const [x, y] = [Array.from(a), Array.from(b)];
  const at = x.findIndex((character, i) => character !== y[i]);
  if (at < 0) return -1;
  return at >= y.length ? 1 : x[at].codePointAt(0)! - y[at].codePointAt(0)!;
}

/**
 * Whether Python's `==` holds: lists and mappings are compared by what they hold, and `''` is neither 0 nor false, but true is 1.
 */
export function pythonEqual(a: Value, b: Value): boolean {
  if (a === b) return true;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (a.type !== b.type) return false;
  const [list, other] = [itemsOf(a), itemsOf(b)];
  if (list && other) {
    return list.length === other.length && list.every((one, i) => pythonEqual(one, other[i]));
  }
  const [mapping, rest] = [mappingOf(a), mappingOf(b)];
  if (mapping && rest) {
    return mapping.size === rest.size &&
      [...mapping].every(([key, one]) => rest.has(key) && pythonEqual(one, rest.get(key)!));
  }
  return a.value === b.value;
}

/**
 * Whether Python's `in` holds: a part of a string, an item of a list, or a key of a mapping. Nothing is in what is undefined.
 * Throws for a container that is none, or another value than a string in a string.
 */
export function pythonContains(value: Value, container: Value): boolean {
  if (container.type === "UndefinedValue") return false;
  const items = itemsOf(container);
  if (items) return items.some((one) => pythonEqual(one, value));
  const key = keyOf(value);
  const mapping = mappingOf(container);
  if (mapping) return key !== undefined && mapping.has(key);
  const text = textOf(value);
  const whole = textOf(container);
  if (whole !== undefined && text !== undefined) return whole.includes(text);
  throw new TypeError(
    `${typeof value.value} in ${typeof container.value}, expected a list, mapping or string`,
  );
}
