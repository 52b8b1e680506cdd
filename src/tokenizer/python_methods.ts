import { pythonEqual } from "./python_operators.ts";
import { pythonTests } from "./python_tests.ts";
import { pythonText } from "./python_text.ts";
import {
  type Given,
  isInteger,
  itemsOf,
  iterated,
  type Key,
  keyOf,
  make,
  mappingOf,
  none,
  numberOf,
  ofKey,
  textOf,
  type Value,
} from "./python_values.ts";
import { stripCharacters } from "./strip_characters.ts";

type Method<Self> = (self: Self, args: readonly Value[], value: Value) => Value;

const { text, integer, boolean, list, tuple } = make;

/** Parameters that may be given by name. */
const parameters: ReadonlyMap<string, readonly string[]> = new Map([
  ["split", ["sep", "maxsplit"]],
  ["rsplit", ["sep", "maxsplit"]],
  ["splitlines", ["keepends"]],
  ["replace", ["old", "new", "count"]],
]);

/** What a call of a value's method returns; undefined where this module has no such method, or none with arguments by such names. */
export function pythonMethod(value: Value, name: string, given: Given): Value | undefined {
  const form = name === "format" ? textOf(value) : undefined;
  if (form !== undefined) return text(formatted(form, given));
  const names = parameters.get(name) ?? [];
  if (!given.named.keys().every((one) => names.includes(one))) return undefined;
  const args = given.named.size === 0
    ? given.args
    : names.map((one, i) => given.args[i] ?? given.named.get(one) ?? none);
  const own = textOf(value);
  if (own !== undefined) return ofTexts.get(name)?.(own, args, value);
  const items = itemsOf(value);
  if (items) return ofLists.get(name)?.(items, args, value);
  const mapping = mappingOf(value);
  return mapping && ofMappings.get(name)?.(mapping, args, value);
}

/** `form` with `{}`, `{0}` and `{name}` replaced by what is given. Throws for other fields, among them those with a format. */
function formatted(form: string, { args, named }: Given): string {
  let next = 0;
  return form.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, field?: string) => {
    if (field === undefined) return whole[0];
    const place = field === "" ? next++ : /^\d+$/.test(field) ? Number(field) : undefined;
    const value = place === undefined ? named.get(field) : args[place];
    if (value) return pythonText(value);
    throw new TypeError(`format: nothing for the field ${whole}, expected {}, {0} or {name}`);
  });
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

/** Its first letter large, all others small. */
export function capitalized(word: string): string {
  const [first = "", ...others] = word;
  const [initial = "", ...more] = first.toUpperCase();
  return initial + [...more, ...others].join("").toLowerCase();
}

function split(last: boolean): Method<string> {
  return (self, args) => {
    const most = numberOf(args[1]) ?? -1;
    if (args.length === 0 || args[0].type === "NullValue") {
      return list(fields(self, most, last).map(text));
    }
    const mark = words(args, 0, "split");
    if (mark === "") throw new RangeError("split: empty separator");
    const parts = self.split(mark);
    if (most >= 0 && most < parts.length - 1) {
      if (last) parts.unshift(parts.splice(0, parts.length - most).join(mark));
      else parts.push(parts.splice(most).join(mark));
    }
    return list(parts.map(text));
  };
}

/** The parts of `self` that white space parts; where there are more than `most` such places, what is beyond them is left whole. */
function fields(self: string, most: number, last: boolean): string[] {
  // deno-lint-ignore no-control-regex -- separators are control characters
  const found = [...self.matchAll(/(?:(?![\x1c-\x1f\x85])[\S\ufeff])+/g)];
  const parts = found.map(([part]) => part);
  if (most < 0 || most >= parts.length) return parts;
  if (!last) return [...parts.slice(0, most), self.slice(found[most].index)];
  const { 0: part, index } = found[parts.length - most - 1];
  return [self.slice(0, index + part.length), ...parts.slice(parts.length - most)];
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
  ["split", split(false)],
  ["rsplit", split(true)],
  ["replace", (self, args) => {
    const [mark, other] = [words(args, 0, "replace"), words(args, 1, "replace")];
    const most = numberOf(args[2]) ?? -1;
    const [first, ...parts] = mark === "" ? ["", ...self, ""] : self.split(mark);
    const joined = parts.map((part, i) => (most < 0 || i < most ? other : mark) + part);
    return text(first + joined.join(""));
  }],
  ["upper", (self) => text(self.toUpperCase())],
  ["lower", (self) => text(self.toLowerCase())],
  // Of every run of letters, be it a part of a word.
  ["title", (self) => text(self.replace(/\p{L}+/gu, capitalized))],
  ["removeprefix", (self, args) => {
    const mark = words(args, 0, "removeprefix");
    return text(self.startsWith(mark) ? self.slice(mark.length) : self);
  }],
  ["removesuffix", (self, args) => {
    const mark = words(args, 0, "removesuffix");
    return text(mark !== "" && self.endsWith(mark) ? self.slice(0, -mark.length) : self);
  }],
  ["capitalize", (self) => text(capitalized(self))],
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
    const missing = Math.min(numberOf(args[0]) ?? 0, 1 << 16) - codePoints(self);
    return text(sign + "0".repeat(Math.max(0, missing)) + self.slice(sign.length));
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

const ofLists: ReadonlyMap<string, Method<Value[]>> = new Map<string, Method<Value[]>>([
  ["index", (self, args) => {
    const at = self.findIndex((one) => pythonEqual(one, args[0]));
    if (at < 0) throw new RangeError("index: it is not in the list");
    return integer(at);
  }],
  ["count", (self, args) => integer(self.filter((one) => pythonEqual(one, args[0])).length)],
  ["copy", (self) => list([...self])],
]);

const ofMappings: ReadonlyMap<string, Method<Map<Key, Value>>> = new Map<
  string,
  Method<Map<Key, Value>>
>([
  ["items", (self) => list([...self].map(([key, value]) => tuple([ofKey(key), value])))],
  ["keys", (self) => list([...self.keys()].map(ofKey))],
  ["values", (self) => list([...self.values()])],
  ["get", (self, args) => {
    const key = keyOf(args[0]);
    return (key === undefined ? undefined : self.get(key)) ?? args[1] ?? none;
  }],
  ["copy", (self) => make.mapping(new Map(self))],
]);
