import { pythonEqual } from "./python_operators.ts";
import { pythonTests } from "./python_tests.ts";
import {
  isInteger,
  itemsOf,
  iterated,
  make,
  mappingOf,
  none,
  numberOf,
  textOf,
  type Value,
} from "./python_values.ts";
import { stripCharacters } from "./strip_characters.ts";

type Method<Self> = (self: Self, args: readonly Value[], value: Value) => Value;

const { text, integer, boolean, list, tuple } = make;

/** What a call of a value's method returns; undefined where this module has no such method. */
export function pythonMethod(
  value: Value,
  name: string,
  args: readonly Value[],
): Value | undefined {
  const own = textOf(value);
  if (own !== undefined) return ofTexts.get(name)?.(own, args, value);
  const items = itemsOf(value);
  if (items) return ofLists.get(name)?.(items, args, value);
  const mapping = mappingOf(value);
  return mapping && ofMappings.get(name)?.(mapping, args, value);
}

function words(args: readonly Value[], at: number, name: string): string {
  const given = textOf(args[at]);
  if (given !== undefined) return given;
  throw new TypeError(`${name}: expected a string, got ${args[at]?.type ?? "nothing"}`);
}

/** The part of `self` that the optional places `args[at]` and `args[at + 1]` leave, by code points, and where it begins. */
function part(
  self: string,
  args: readonly Value[],
  at: number,
): { characters: string; from: number } {
  if (args.length <= at) return { characters: self, from: 0 };
  const all = Array.from(self);
  const place = (given: Value | undefined, otherwise: number) => {
    const number = isInteger(given) ? numberOf(given)! : otherwise;
    return Math.min(all.length, number < 0 ? Math.max(0, number + all.length) : number);
  };
  const [from, to] = [place(args[at], 0), place(args[at + 1], all.length)];
  return { characters: all.slice(from, to).join(""), from };
}

/** The length of a text as Python counts it. */
export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function found(last: boolean, required: boolean): Method<string> {
  return (self, args) => {
    const wanted = words(args, 0, "find");
    const { characters, from } = part(self, args, 1);
    const at = last ? characters.lastIndexOf(wanted) : characters.indexOf(wanted);
    if (at < 0 && required) throw new RangeError("substring not found");
    return integer(at < 0 ? -1 : from + codePoints(characters.slice(0, at)));
  };
}

function begins(ends: boolean): Method<string> {
  return (self, args) => {
    const { characters } = part(self, args, 1);
    const wanted = itemsOf(args[0]) ?? [args[0]];
    return boolean(wanted.some((_, i) => {
      const one = words(wanted, i, ends ? "endswith" : "startswith");
      return ends ? characters.endsWith(one) : characters.startsWith(one);
    }));
  };
}

function parted(last: boolean): Method<string> {
  return (self, args) => {
    const mark = words(args, 0, "partition");
    const at = last ? self.lastIndexOf(mark) : self.indexOf(mark);
    const parts = at < 0
      ? last ? ["", "", self] : [self, "", ""]
      : [self.slice(0, at), mark, self.slice(at + mark.length)];
    return tuple(parts.map(text));
  };
}

function stripped(method: "strip" | "lstrip" | "rstrip"): Method<string> {
  return (self, args) => {
    const all = args.length === 0 || args[0].type === "NullValue";
    return text(stripCharacters(method, self, all ? undefined : words(args, 0, method)));
  };
}

function padded(place: (missing: number, width: number) => number): Method<string> {
  return (self, args) => {
    const width = Math.min(numberOf(args[0]) ?? 0, 1 << 16);
    const missing = Math.max(0, width - codePoints(self));
    const fill = textOf(args[1]) ?? " ";
    const before = place(missing, width);
    return text(fill.repeat(before) + self + fill.repeat(missing - before));
  };
}

function all(pattern: RegExp): Method<string> {
  return (self) => boolean(pattern.test(self));
}

const ofTexts: ReadonlyMap<string, Method<string>> = new Map<string, Method<string>>([
  ["strip", stripped("strip")],
  ["lstrip", stripped("lstrip")],
  ["rstrip", stripped("rstrip")],
  ["find", found(false, false)],
  ["rfind", found(true, false)],
  ["index", found(false, true)],
  ["rindex", found(true, true)],
  ["startswith", begins(false)],
  ["endswith", begins(true)],
  ["partition", parted(false)],
  ["rpartition", parted(true)],
  ["count", (self, args) => {
    const wanted = words(args, 0, "count");
    const { characters } = part(self, args, 1);
    return integer(
      wanted === "" ? codePoints(characters) + 1 : characters.split(wanted).length - 1,
    );
  }],
  ["join", (self, args) => {
    const parts = iterated(args[0], "join");
    return text(parts.map((_, i) => words(parts, i, "join")).join(self));
  }],
  ["splitlines", (self, args) => {
    // deno-lint-ignore no-control-regex -- separators are control characters
    const breaks = /\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]/;
    const kept = args[0]?.value === true;
    const lines = kept
      ? self.split(new RegExp(`(?<=${breaks.source})(?<!\\r(?=\\n))`))
      : self.split(breaks);
    if (lines.at(-1) === "") lines.pop();
    return list(lines.map(text));
  }],
  ["rsplit", (self, args, value) => {
    const most = numberOf(args[1]) ?? -1;
    const mark = textOf(args[0]);
    if (mark === undefined || mark === "" || most < 0) {
      return engines(value, "split", args.slice(0, 1));
    }
    const parts = self.split(mark);
    const first = parts.splice(0, Math.max(1, parts.length - most));
    return list([first.join(mark), ...parts].map(text));
  }],
  ["removeprefix", (self, args) => {
    const mark = words(args, 0, "removeprefix");
    return text(self.startsWith(mark) ? self.slice(mark.length) : self);
  }],
  ["removesuffix", (self, args) => {
    const mark = words(args, 0, "removesuffix");
    return text(mark !== "" && self.endsWith(mark) ? self.slice(0, -mark.length) : self);
  }],
  ["capitalize", (self) => {
    const [first = "", ...others] = self;
    return text(first.toUpperCase() + others.join("").toLowerCase());
  }],
  ["casefold", (self) => text(self.toLowerCase().replaceAll("ß", "ss"))],
  ["swapcase", (self) =>
    text(self.replace(/\p{L}/gu, (one) => {
      const upper = one.toUpperCase();
      return one === upper ? one.toLowerCase() : upper;
    }))],
  ["ljust", padded(() => 0)],
  ["rjust", padded((missing) => missing)],
  // An odd one goes before in an even width.
  ["center", padded((missing, width) => Math.floor(missing / 2) + (missing & width & 1))],
  ["zfill", (self, args) => {
    const sign = /^[+-]/.exec(self)?.[0] ?? "";
    const width = Math.min(numberOf(args[0]) ?? 0, 1 << 16) - sign.length;
    return text(sign + self.slice(sign.length).padStart(width, "0"));
  }],
  ["isdigit", all(/^\p{Nd}+$/u)],
  ["isdecimal", all(/^\p{Nd}+$/u)],
  ["isnumeric", all(/^\p{N}+$/u)],
  ["isalpha", all(/^\p{L}+$/u)],
  ["isalnum", all(/^[\p{L}\p{N}]+$/u)],
  ["isspace", (self) => boolean(self !== "" && stripCharacters("strip", self) === "")],
  ["isupper", (_, __, value) => boolean(pythonTests.get("upper")!(value, none))],
  ["islower", (_, __, value) => boolean(pythonTests.get("lower")!(value, none))],
]);

/** A method that the engine has as Python does. */
function engines(value: Value, name: string, args: readonly Value[]): Value {
  const method = value.builtins.get(name)!.value as (args: readonly Value[]) => Value;
  return method(args);
}

const ofLists: ReadonlyMap<string, Method<Value[]>> = new Map<string, Method<Value[]>>([
  ["index", (self, args) => {
    const at = self.findIndex((one) => pythonEqual(one, args[0]));
    if (at < 0) throw new RangeError("index: it is not in the list");
    return integer(at);
  }],
  ["count", (self, args) => integer(self.filter((one) => pythonEqual(one, args[0])).length)],
  ["copy", (self) => list([...self])],
]);

const ofMappings: ReadonlyMap<string, Method<Map<string, Value>>> = new Map<
  string,
  Method<Map<string, Value>>
>([
  ["items", (self) => list([...self].map(([key, value]) => tuple([text(key), value])))],
  ["keys", (self) => list([...self.keys()].map(text))],
  ["values", (self) => list([...self.values()])],
  ["get", (self, args) => {
    const key = textOf(args[0]);
    return (key === undefined ? undefined : self.get(key)) ?? args[1] ?? none;
  }],
  ["copy", (self) => make.mapping(new Map(self))],
]);
