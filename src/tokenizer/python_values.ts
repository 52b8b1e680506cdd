import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { WrittenNumber } from "../common/written_number.ts";

/** A value within a template, as the engine holds it: lists of such values, maps to them. */
export type Value = ReturnType<Interpreter["evaluate"]>;

/** What a filter or a method is given beside its operand. */
export interface Given {
  args: readonly Value[];
  named: ReadonlyMap<string, Value>;
}

/** Under what a mapping holds a value: a text or a number. */
export type Key = string | number;

type Make = new (value: unknown) => Value;

const environment = new Environment();
let made = 0;
const hold = (value: unknown) => environment.set(`value ${made++}`, value);
// The engine exports none of its classes.
const classOf = (value: unknown) => hold(value).constructor as Make;
const [Text, Integer, Float, List, Function] = ["", 1, 0.5, [], () => null].map(classOf);
const Mapping = classOf({});
const [pair] = new Template("{{ (1, 1) }}").parsed.body;
const Tuple = new Interpreter(environment).evaluate(pair, environment).constructor as Make;

export const none = hold(null);
export const undefinedValue = hold(undefined);
const [yes, no] = [hold(true), hold(false)];

/** Values of each kind. */
export const make = {
  text: (value: string) => new Text(value),
  integer: (value: number | bigint) => new Integer(value),
  float: (value: number) => new Float(value),
  boolean: (value: boolean) => value ? yes : no,
  list: (value: Value[]) => new List(value),
  tuple: (value: Value[]) => new Tuple(value),
  mapping: (value: Map<Key, Value>) => new Mapping(value),
  /** `run` takes positional arguments, then a `KeywordArgumentsValue` where there are others, and the variables where it is called. */
  function: (run: (args: Value[], environment: Environment) => Value) => new Function(run),
};

/** A value of JSON as templates hold it. */
export function valueOf(input: unknown): Value {
  if (input instanceof WrittenNumber) {
    const { value } = input;
    return typeof value === "bigint" ? make.integer(value) : make.float(value);
  }
  if (Array.isArray(input)) return make.list(input.map(valueOf));
  switch (typeof input) {
    case "string":
      return make.text(input);
    case "number":
      return Number.isInteger(input) ? make.integer(input) : make.float(input);
    case "boolean":
      return make.boolean(input);
    case "undefined":
      return undefinedValue;
  }
  if (typeof input !== "object") throw new TypeError(`a ${typeof input} is no JSON`);
  if (input === null) return none;
  return make.mapping(new Map(Object.entries(input).map(([key, one]) => [key, valueOf(one)])));
}

/** Whether a value counts as true: texts, lists and mappings do unless they are empty. */
export function truthy(value: Value): boolean {
  return value.__bool__().value;
}

/** The text that a value is, if it is one. */
export function textOf(value: Value | undefined): string | undefined {
  return value?.type === "StringValue" ? value.value as string : undefined;
}

/** The items of a list or tuple. */
export function itemsOf(value: Value): Value[] | undefined {
  return value.type === "ArrayValue" || value.type === "TupleValue"
    ? value.value as Value[]
    : undefined;
}

export function mappingOf(value: Value): Map<Key, Value> | undefined {
  return value.type === "ObjectValue" ? value.value as Map<Key, Value> : undefined;
}

/** What a value is as a key, if it can be one. */
export function keyOf(value: Value | undefined): Key | undefined {
  return textOf(value) ?? numberOf(value);
}

/** The value that a key stands for. */
export function ofKey(key: Key): Value {
  if (typeof key === "string") return make.text(key);
  return Number.isInteger(key) ? make.integer(key) : make.float(key);
}

/** The number that a value is or, as true and false, counts as. */
export function numberOf(value: Value | undefined): number | undefined {
  return isInteger(value) || isFloat(value) || value?.type === "BooleanValue"
    ? Number(value!.value)
    : undefined;
}

export function isInteger(value: Value | undefined): boolean {
  return value?.type === "IntegerValue";
}

export function isFloat(value: Value | undefined): boolean {
  return value?.type === "FloatValue";
}

/** What `for` goes through: the characters of a text, keys of a mapping; nothing where there is nothing. Throws `TypeError`, in the name of `what`, for others. */
export function iterated(value: Value, what: string): Value[] {
  const text = textOf(value);
  if (text !== undefined) return Array.from(text, make.text);
  if (value.type === "UndefinedValue") return [];
  const items = itemsOf(value) ?? mappingOf(value)?.keys().map(ofKey).toArray();
  if (items) return items;
  throw new TypeError(`${what}: ${value.type} cannot be gone through`);
}
