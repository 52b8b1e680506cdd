import { pythonContains, pythonEqual, pythonOperation } from "./python_operators.ts";
import {
  isFloat,
  isInteger,
  itemsOf,
  mappingOf,
  numberOf,
  textOf,
  type Value,
} from "./python_values.ts";

type Test = (value: Value, argument: Value) => boolean;

const compared = (operator: string): Test => (a, b) =>
  pythonOperation(operator, a, b).value === true;
const rest = (value: Value, by: number) => {
  const number = numberOf(value);
  if (number === undefined) throw new TypeError(`${value.type} is no number`);
  return number % by;
};
const isType = (type: string): Test => (value) => value.type === type;
const iterable: Test = (value) =>
  textOf(value) !== undefined || itemsOf(value) !== undefined || mappingOf(value) !== undefined ||
  value.type === "UndefinedValue";
const differs: Test = (a, b) => !pythonEqual(a, b);

/** Jinja's tests by name. */
export const pythonTests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["defined", (value) => value.type !== "UndefinedValue"],
  ["undefined", isType("UndefinedValue")],
  ["none", isType("NullValue")],
  ["boolean", isType("BooleanValue")],
  ["true", (value) => value.type === "BooleanValue" && value.value === true],
  ["false", (value) => value.type === "BooleanValue" && value.value === false],
  ["string", isType("StringValue")],
  ["number", (value) => numberOf(value) !== undefined],
  ["integer", isInteger],
  ["float", isFloat],
  ["mapping", (value) => mappingOf(value) !== undefined],
  ["sequence", iterable],
  ["iterable", iterable],
  // What is undefined can be called, if in vain.
  ["callable", ({ type }) => type === "FunctionValue" || type === "UndefinedValue"],
  ["odd", (value) => rest(value, 2) !== 0],
  ["even", (value) => rest(value, 2) === 0],
  ["divisibleby", (value, by) => rest(value, numberOf(by) ?? NaN) === 0],
  ["upper", (value) => cased(value, (text) => text.toUpperCase())],
  ["lower", (value) => cased(value, (text) => text.toLowerCase())],
  ["in", pythonContains],
  ["sameas", (a, b) => a.type === b.type && pythonEqual(a, b)],
  ...["eq", "equalto", "=="].map((name): [string, Test] => [name, pythonEqual]),
  ...["ne", "!="].map((name): [string, Test] => [name, differs]),
  ...["lt", "lessthan", "<"].map((name): [string, Test] => [name, compared("<")]),
  ...["le", "<="].map((name): [string, Test] => [name, compared("<=")]),
  ...["gt", "greaterthan", ">"].map((name): [string, Test] => [name, compared(">")]),
  ...["ge", ">="].map((name): [string, Test] => [name, compared(">=")]),
]);

/** As `isupper` and `islower`: there are letters, and all of them are so. */
function cased(value: Value, convert: (text: string) => string): boolean {
  const text = textOf(value);
  return text !== undefined && text === convert(text) && /[\p{Lu}\p{Ll}\p{Lt}]/u.test(text);
}
