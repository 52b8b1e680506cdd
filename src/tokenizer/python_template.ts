import { Environment, parse, Template } from "@huggingface/jinja";
import { type Node, PythonInterpreter } from "./python_interpreter.ts";
import { pythonTokens } from "./python_source.ts";
import { make, mappingOf, type Value } from "./python_values.ts";

/** Fields of the syntax tree that hold what is printed in turn. */
const BLOCKS = new Set(["body", "alternate", "defaultBlock"]);
/** What prints itself, or nothing; texts between tags are literals. */
const STATEMENTS = new Set([
  ...["Set", "If", "For", "Macro", "CallStatement", "FilterStatement", "Break", "Continue"],
  ...["Comment", "StringLiteral"],
]);

type Run = (args: Value[]) => Value;
const engines: Record<string, Run> = {};
new Template("{{ take(range, strftime_now) }}").render({
  take: (range: Run, strftime_now: Run) => void Object.assign(engines, { range, strftime_now }),
});

/** As Python's: of a mapping or nothing, and named values. */
function dict(args: Value[]): Value {
  return make.mapping(
    new Map(args.flatMap((one) => [
      ...mappingOf(one) ??
        (one.type === "KeywordArgumentsValue" ? one.value as Map<string, Value> : []),
    ])),
  );
}

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
    for (const [name, run] of Object.entries({ ...engines, dict })) {
      environment.setVariable(name, make.function(run));
    }
    for (const [name, value] of Object.entries(variables)) {
      environment.variables.delete(name);
      environment.set(name, value);
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
