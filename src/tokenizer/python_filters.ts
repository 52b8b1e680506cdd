import { pythonJson } from "./python_json.ts";
import { capitalized, codePoints, pythonMethod } from "./python_methods.ts";
import { order, pythonEqual, pythonOperation } from "./python_operators.ts";
import { pythonText } from "./python_text.ts";
import {
  type Given,
  isInteger,
  itemsOf,
  iterated,
  make,
  mappingOf,
  numberOf,
  textOf,
  truthy,
  undefinedValue,
  type Value,
} from "./python_values.ts";

/** How filters of lists apply others to their items. */
export interface Apply {
  filter(name: string, operand: Value, given: Given): Value;
  test(name: string, operand: Value, given: Given): boolean;
}

type Filter = (operand: Value, given: Given, apply: Apply) => Value;

const { list, float, integer, text } = make;
const nothing: Given = { args: [], named: new Map() };
const argument = ({ args, named }: Given, at: number, name: string) => args[at] ?? named.get(name);

/** Jinja's filters by name, those which the engine has otherwise or not at all. */
export const pythonFilters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["string", (value) => text(pythonText(value))],
  ["tojson", (value, { named }) => text(pythonJson(value, named))],
  ["list", (value) => list([...iterated(value, "list")])],
  ["items", (value, given) => {
    if (value.type === "UndefinedValue") return list([]);
    const items = mappingOf(value) && pythonMethod(value, "items", given);
    if (items) return items;
    throw new TypeError(`items: expected a mapping, got ${value.type}`);
  }],
  ["length", size],
  ["count", size],
  ["first", (value) => iterated(value, "first").at(0) ?? undefinedValue],
  ["last", (value) => iterated(value, "last").at(-1) ?? undefinedValue],
  ["reverse", (value) => {
    const items = iterated(value, "reverse").toReversed();
    return textOf(value) === undefined ? list(items) : text(items.map(textOf).join(""));
  }],
  ["join", (value, given) => {
    const attribute = argument(given, 1, "attribute");
    const items = iterated(value, "join").map((one) => attribute ? valueAt(one, attribute) : one);
    return text(items.map(pythonText).join(pythonText(argument(given, 0, "d") ?? text(""))));
  }],
  ["unique", (value, given) => {
    const cased = argument(given, 0, "case_sensitive")?.value === true;
    const attribute = argument(given, 1, "attribute");
    const keys: Value[] = [];
    return list(
      iterated(value, "unique").filter((one) => {
        const own = attribute ? valueAt(one, attribute) : one;
        const key = cased ? own : folded(own);
        if (keys.some((seen) => pythonEqual(seen, key))) return false;
        keys.push(key);
        return true;
      }),
    );
  }],
  ["default", otherwise],
  ["d", otherwise],
  ["trim", ofText("strip")],
  ...["capitalize", "lower", "replace", "upper"].map((name): [string, Filter] => [
    name,
    ofText(name),
  ]),
  ["title", (value) => text(pythonText(value).replace(/[^-\s({[<]+/g, capitalized))],
  ["indent", (value, given) => {
    const width = argument(given, 0, "width") ?? integer(4);
    const space = textOf(width) ?? " ".repeat(Math.max(0, numberOf(width) ?? 0));
    const [first, blank] = ["first", "blank"].map((name, i) =>
      truthy(argument(given, i + 1, name) ?? undefinedValue)
    );
    const lines = itemsOf(
      pythonMethod(text(`${pythonText(value)}\n`), "splitlines", nothing)!,
    )!.map((line) => textOf(line)!);
    return text(
      lines.map((line, i) => (i === 0 ? first : blank || line !== "") ? space + line : line)
        .join("\n"),
    );
  }],
  ["sort", (value, given) => {
    const cased = argument(given, 1, "case_sensitive")?.value === true;
    const attribute = argument(given, 2, "attribute");
    const paths = attribute && textOf(attribute)?.split(",").map(text) || [attribute];
    const key = (one: Value) =>
      list(paths.map((path) => path ? valueAt(one, path) : one).map(cased ? (own) => own : folded));
    return sorted(iterated(value, "sort"), key, argument(given, 0, "reverse"));
  }],
  ["dictsort", (value, given) => {
    const items = mappingOf(value) && pythonMethod(value, "items", nothing);
    if (!items) throw new TypeError(`dictsort: expected a mapping, got ${value.type}`);
    const cased = argument(given, 0, "case_sensitive")?.value === true;
    const at = textOf(argument(given, 1, "by")) === "value" ? 1 : 0;
    const key = (pair: Value) => {
      const own = itemsOf(pair)![at];
      return cased ? own : folded(own);
    };
    return sorted(itemsOf(items)!, key, argument(given, 2, "reverse"));
  }],
  ["int", (value, given) =>
    toInteger(value, numberOf(argument(given, 1, "base")) ?? 10) ??
      argument(given, 0, "default") ?? integer(0)],
  ["float", (value, given) => {
    const number = numberOf(value) ?? toFloat(textOf(value));
    return number === undefined ? argument(given, 0, "default") ?? float(0) : float(number);
  }],
  ["round", (value, given) => {
    const number = numberOf(value);
    if (number === undefined) throw new TypeError(`round: ${value.type} is no number`);
    const places = 10 ** (numberOf(argument(given, 0, "precision")) ?? 0);
    const how = textOf(argument(given, 1, "method")) ?? "common";
    const scaled = number * places;
    if (how === "ceil" || how === "floor") return float(Math[how](scaled) / places);
    // Halves go to the even neighbour.
    const half = Math.abs(scaled % 1) === 0.5;
    return float((half ? 2 * Math.round(scaled / 2) : Math.round(scaled)) / places);
  }],
  ["sum", (value, given) => {
    const attribute = argument(given, 0, "attribute");
    return iterated(value, "sum").map((one) => attribute ? valueAt(one, attribute) : one)
      .reduce(
        (sum, one) => pythonOperation("+", sum, one),
        argument(given, 1, "start") ?? integer(0),
      );
  }],
  ["min", extreme("<")],
  ["max", extreme(">")],
  ["batch", (value, given) => {
    const items = iterated(value, "batch");
    const count = Math.min(Math.max(1, numberOf(argument(given, 0, "linecount")) ?? 1), 1 << 16);
    const fill = argument(given, 1, "fill_with");
    const rows: Value[] = [];
    for (let at = 0; at < items.length; at += count) {
      const row = items.slice(at, at + count);
      while (fill && row.length < count) row.push(fill);
      rows.push(list(row));
    }
    return list(rows);
  }],
  ["map", (value, given, apply) => {
    const { args: [name, ...args], named } = given;
    const attribute = named.get("attribute");
    const items = truthy(value) ? iterated(value, "map") : [];
    if (attribute) {
      const missing = named.get("default") ?? undefinedValue;
      return list(items.map((one) => {
        const found = valueAt(one, attribute);
        return found.type === "UndefinedValue" ? missing : found;
      }));
    }
    const filter = textOf(name);
    if (filter === undefined) throw new TypeError("map: expected a filter's name or an attribute");
    return list(items.map((one) => apply.filter(filter, one, { args, named })));
  }],
  ["select", chosen(true, false)],
  ["reject", chosen(false, false)],
  ["selectattr", chosen(true, true)],
  ["rejectattr", chosen(false, true)],
]);

function sorted(items: Value[], keyOf: (one: Value) => Value, reverse?: Value): Value {
  const sign = reverse && truthy(reverse) ? -1 : 1;
  const keyed = items.map((one) => ({ one, key: keyOf(one) }));
  return list(keyed.sort((a, b) => sign * order("<", a.key, b.key)).map(({ one }) => one));
}

/** A method of texts as a filter, which takes other values as they are printed. */
function ofText(method: string): Filter {
  return (value, given) => {
    const made = pythonMethod(text(pythonText(value)), method, given);
    if (made) return made;
    throw new TypeError(`${method}: unknown arguments ${[...given.named.keys()].join(", ")}`);
  };
}

function size(value: Value): Value {
  const own = textOf(value);
  if (own !== undefined) return integer(codePoints(own));
  const mapping = mappingOf(value);
  return integer(mapping ? mapping.size : iterated(value, "length").length);
}

function otherwise(value: Value, given: Given): Value {
  const any = argument(given, 1, "boolean");
  const missing = value.type === "UndefinedValue" || any && truthy(any) && !truthy(value);
  return missing ? argument(given, 0, "default_value") ?? text("") : value;
}

function extreme(operator: "<" | ">"): Filter {
  return (value, given) => {
    const cased = argument(given, 0, "case_sensitive")?.value === true;
    const attribute = argument(given, 1, "attribute");
    const key = (one: Value) => {
      const own = attribute ? valueAt(one, attribute) : one;
      return cased ? own : folded(own);
    };
    const items = iterated(value, operator === "<" ? "min" : "max");
    if (items.length === 0) return undefinedValue;
    return items.reduce((best, one) =>
      pythonOperation(operator, key(one), key(best)).value ? one : best
    );
  };
}

function chosen(kept: boolean, byAttribute: boolean): Filter {
  return (value, { args: given, named }, apply) => {
    const [attribute, ...rest] = byAttribute ? given : [undefinedValue, ...given];
    const [name, ...args] = rest;
    const test = textOf(name);
    return list(
      (truthy(value) ? iterated(value, "select") : []).filter((one) => {
        const own = byAttribute ? valueAt(one, attribute) : one;
        const holds = test === undefined ? truthy(own) : apply.test(test, own, { args, named });
        return holds === kept;
      }),
    );
  };
}

/** What `a.b.0` leads to within a value. */
function valueAt(value: Value, path: Value): Value {
  const parts = textOf(path)?.split(".") ?? [String(numberOf(path))];
  return parts.reduce<Value>(
    (at, part) => mappingOf(at)?.get(part) ?? itemsOf(at)?.[Number(part)] ?? undefinedValue,
    value,
  );
}

function folded(value: Value): Value {
  const own = textOf(value);
  return own === undefined ? value : text(own.toLowerCase());
}

function toInteger(value: Value, base: number): Value | undefined {
  if (isInteger(value)) return value;
  const own = textOf(value);
  if (own === undefined || base === 10) {
    const number = numberOf(value) ?? toFloat(own);
    return number === undefined ? undefined : integer(Math.trunc(number));
  }
  const digits = own.trim().toLowerCase().replace(/^0[xob]/, "");
  const number = parseInt(digits, base);
  return number.toString(base) === digits.replace(/^0+(?=.)/, "") ? integer(number) : undefined;
}

function toFloat(own: string | undefined): number | undefined {
  const pattern = /^\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i;
  return own !== undefined && pattern.test(own) ? Number(own.replaceAll("_", "")) : undefined;
}
