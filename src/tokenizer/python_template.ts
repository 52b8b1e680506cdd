import { Environment, parse } from "@huggingface/jinja";
import { type Node, PythonInterpreter } from "./python_interpreter.ts";
import { pythonTokens } from "./python_source.ts";
import { pythonText } from "./python_text.ts";
import {
  isInteger,
  iterated,
  type Key,
  keyOf,
  make,
  mappingOf,
  textOf,
  type Value,
  valueOf,
} from "./python_values.ts";
import { strftime } from "./strftime.ts";

/** Fields of the syntax tree that hold what is printed in turn. */
const BLOCKS = new Set(["body", "alternate", "defaultBlock"]);
/** What prints itself, or nothing; texts between tags are literals. */
const STATEMENTS = new Set([
  ...["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Break", "Continue"],
  ...["Comment", "StringLiteral"],
]);

/** Numbers that `range` makes at most, as in the sandbox that templates are written for. */
const MOST_NUMBERS = 100_000;

/** Functions that every template may call. */
const functions: Record<string, (args: Value[]) => Value> = {
  range(args) {
    const numbers = args.map((one) => {
      if (isInteger(one)) return one.value as number;
      throw new TypeError(`range: expected integers, got ${one.type}`);
    });
    const [from, to, by = 1] = numbers.length === 1 ? [0, ...numbers] : numbers;
    const length = Math.max(0, Math.ceil((to - from) / by));
    if (length <= MOST_NUMBERS) {
      return make.list(Array.from({ length }, (_, i) => make.integer(from + i * by)));
    }
    throw new RangeError(`range: ${length} numbers, expected at most ${MOST_NUMBERS}`);
  },
  strftime_now: ([format]) => make.text(strftime(new Date(), textOf(format) ?? "")),
  /** Of a mapping, pairs or nothing, and named values. */
  dict(args) {
    return make.mapping(
      new Map(args.flatMap((one) => {
        const mapping = mappingOf(one) ??
          (one.type === "KeywordArgumentsValue" ? one.value as Map<Key, Value> : undefined);
        if (mapping) return [...mapping];
        return iterated(one, "dict").map((pair): [Key, Value] => {
          const [key, value] = iterated(pair, "dict");
          return [keyOf(key) ?? pythonText(key), value];
        });
      })),
    );
  },
};

/**
 * A Jinja template that means what it does in Python, for which templates of chats were written. The engine differs in many things, most of them silently (see
 * `PythonInterpreter` and `pythonTokens`).
 */
export class PythonTemplate {
  readonly #program: ReturnType<typeof parse>;

  /** @throws {Error} when it does not parse. */
  constructor(source: string) {
    this.#program = parse(pythonTokens(source));
    printing(this.#program);
  }

  /** The text that the template makes with these variables. @throws {Error} when it fails. */
  render(variables: Record<string, unknown>): string {
    const environment = new Environment();
    for (const [none, yes, no] of [["none", "true", "false"], ["None", "True", "False"]]) {
      environment.set(none, null);
      environment.set(yes, true);
      environment.set(no, false);
    }
    for (const [name, run] of Object.entries(functions)) {
      environment.setVariable(name, make.function(run));
    }
    for (const [name, value] of Object.entries(variables)) {
      environment.variables.delete(name);
      if (typeof value === "function") environment.set(name, value);
      else environment.setVariable(name, valueOf(value));
    }
    return new PythonInterpreter(environment).run(this.#program).value as string;
  }
}

/** Marks the expressions that are printed. */
function printing(value: unknown): void {
  if (value instanceof Map) return value.forEach(printing);
  if (typeof value !== "object" || value === null) return;
  for (const [field, one] of Object.entries(value)) {
    printing(one);
    if (!BLOCKS.has(field) || !Array.isArray(one)) continue;
    one.forEach((expression: Node, i) => {
      if (STATEMENTS.has(expression.type)) return;
      // Of the engine's own classes, by which it looks for what a macro reads.
      const output: Node = Object.create(Object.getPrototypeOf(expression));
      one[i] = Object.assign(output, { type: "Output", expression });
    });
  }
}
