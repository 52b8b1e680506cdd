import { Environment, Interpreter } from "@huggingface/jinja";
import { type Apply, pythonFilters } from "./python_filters.ts";
import { loopOf } from "./python_loop.ts";
import { pythonMethod } from "./python_methods.ts";
import { pythonOperation } from "./python_operators.ts";
import { pythonSlice } from "./python_slice.ts";
import { TEST } from "./python_source.ts";
import { pythonTests } from "./python_tests.ts";
import { pythonText } from "./python_text.ts";
import { workOf } from "./python_work.ts";
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
  textOf,
  truthy,
  undefinedValue,
  type Value,
} from "./python_values.ts";

/** A node of the engine's syntax tree, or one of ours. */
export interface Node {
  type: string;
  [field: string]: unknown;
}

type Statement = Parameters<Interpreter["evaluate"]>[0];

type Function = (args: Value[], environment: Environment) => Value;

const ORDERED = new Set(["<", "<=", ">", ">="]);

/** Steps of a rendering at most, some seconds of work, and characters of a text: a file's template must not stop the server. */
const MOST_STEPS = 50_000_000;
const MOST_TEXT = 1 << 26;

/** Steps that a character of a text costs what makes values or other texts of it, and what only looks for another or compares. */
const MADE = 2;
const READ = 1 / 16;
/** Methods that compare what a list holds with their argument; of texts they do about as much. */
const COMPARING = new Set(["index", "count", "remove"]);
/** Filters that do not go through what the items of a list hold. */
const SHALLOW = new Set(
  ["length", "count", "first", "last", "default", "d", "list", "items", "reverse", "batch", "slice"]
    .concat("map", "select", "reject", "selectattr", "rejectattr"),
);

/** Leaves an iteration of a loop, which had printed `text`. */
class Jump {
  text = "";
  constructor(readonly type: "Break" | "Continue") {}
  toString(): string {
    return `${this.type} outside of a loop`;
  }
}

/**
 * Evaluates templates as Python's Jinja does where the engine does otherwise or not at all. Beside the engine's nodes there are `Output`, whose `expression` is
 * printed, and `Held`, which is its `value`.
 */
export class PythonInterpreter extends Interpreter {
  #steps = 0;

  override evaluate(statement: Statement, environment: Environment): Value {
    this.#take(1);
    const value = this.#evaluate(statement, environment);
    if ((textOf(value)?.length ?? 0) <= MOST_TEXT) return value;
    throw new RangeError(`it makes a text of more than ${MOST_TEXT} characters`);
  }

  #take(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw new RangeError(`it takes more than ${MOST_STEPS} steps`);
  }

  /** Counts what going through values takes, before it is done. Returns it. */
  #count(perCharacter: number, ...values: Value[]): number {
    let work = 0;
    for (const value of values) {
      const own = workOf(value, perCharacter, MOST_STEPS - this.#steps);
      this.#take(own);
      work += own;
    }
    return work;
  }

  /** As `#count`, leaving out what items hold, and texts unless `texts`. */
  #countItems(texts: boolean, ...values: Value[]): void {
    for (const value of values) {
      const characters = texts ? textOf(value)?.length ?? 0 : 0;
      this.#take(MADE * characters + (itemsOf(value)?.length ?? mappingOf(value)?.size ?? 0));
    }
  }

  #evaluate(statement: Statement, environment: Environment): Value {
    const node = statement as unknown as Node | undefined;
    const child = (field: string) => this.#at(node![field], environment);
    switch (node?.type) {
      case "Held":
        return node.value as Value;
      case "Output":
        return make.text(this.#text(child("expression")));
      case "BinaryExpression": {
        const { value: operator } = node.operator as { value: string };
        if (operator === "and" || operator === "or") break;
        const { type, operator: inner } = node.left as Node;
        // `a < b < c` means otherwise than what the parser makes of it.
        if (
          ORDERED.has(operator) && type === "BinaryExpression" &&
          ORDERED.has((inner as { value: string }).value)
        ) break;
        const [left, right] = [child("left"), child("right")];
        if (operator === "+" || operator === "*") this.#countItems(false, left, right);
        else this.#count(ORDERED.has(operator) ? MADE : READ, left, right);
        return pythonOperation(operator, left, right);
      }
      case "FilterExpression": {
        const { name, args } = filterOf(node.filter as Node);
        if (!name.startsWith(TEST) && !pythonFilters.has(name)) break;
        const given = this.#given(args, environment);
        return this.#filter(name, child("operand"), given, environment);
      }
      case "FilterStatement": {
        const operand = this.#printed(node.body as Node[], environment);
        return this.#at({ type: "FilterExpression", operand, filter: node.filter }, environment);
      }
      case "Set": {
        if (node.value) break;
        const value = this.#printed(node.body as Node[], environment);
        return super.evaluate(statementOf({ ...node, value }), environment);
      }
      case "TestExpression": {
        const { value: name } = node.test as { value: string };
        return make.boolean(this.#test(name, child("operand"), []) !== node.negate);
      }
      case "MemberExpression": {
        const property = node.property as Node;
        if (!node.computed) break;
        const object = child("object");
        if (property.type === "SliceExpression") {
          const [start, stop, step] = ["start", "stop", "step"].map((bound) =>
            this.#at(property[bound], environment)
          );
          this.#countItems(true, object);
          return pythonSlice(object, start, stop, step);
        }
        const index = child("property");
        const text = textOf(object);
        if (text !== undefined && isInteger(index)) {
          this.#countItems(true, object);
          const character = Array.from(text).at(index.value as number);
          return character === undefined ? undefinedValue : make.text(character);
        }
        const key = numberOf(index);
        const mapping = mappingOf(object);
        if (mapping && key !== undefined) return mapping.get(key) ?? undefinedValue;
        if (mapping && textOf(index) === undefined) return undefinedValue;
        return super.evaluate(
          statementOf({ ...node, object: held(object), property: held(index) }),
          environment,
        );
      }
      case "ObjectLiteral": {
        const entries = [...node.value as Map<Node, Node>].map(([key, one]): [Key, Value] => {
          const own = keyOf(this.#at(key, environment));
          if (own !== undefined) return [own, this.#at(one, environment)];
          throw new TypeError("a mapping's key is neither a text nor a number");
        });
        return make.mapping(new Map(entries));
      }
      case "CallExpression": {
        const callee = node.callee as Node;
        if (callee.type !== "MemberExpression" || callee.computed) break;
        return this.#method(callee, node.args as Node[], environment);
      }
      case "If": {
        const body = truthy(child("test")) ? node.body : node.alternate;
        return make.text(this.#block(body as Node[], environment));
      }
      case "For":
        return make.text(this.#loop(node, environment));
      case "Break":
      case "Continue":
        throw new Jump(node.type);
      case "Macro": {
        super.evaluate(statement, environment);
        const { value: name } = node.name as { value: string };
        const run = environment.lookupVariable(name).value as Function;
        return environment.setVariable(name, make.function(lexical(run, environment))) && none;
      }
    }
    return super.evaluate(statement, environment);
  }

  #at(node: unknown, environment: Environment): Value {
    return this.evaluate(statementOf(node as Node), environment);
  }

  #method(callee: Node, nodes: Node[], environment: Environment): Value {
    const object = this.#at(callee.object, environment);
    const name = (callee.property as Node).value as string;
    const given = this.#given(nodes, environment);
    if (COMPARING.has(name)) this.#count(MADE, object, ...given.args);
    else this.#countItems(true, object, ...given.args);
    return pythonMethod(object, name, given) ?? super.evaluate(
      statementOf({
        type: "CallExpression",
        callee: { ...callee, object: held(object) },
        args: nodesOf(given),
      }),
      environment,
    );
  }

  /** What the statements print. */
  #block(statements: readonly Node[], environment: Environment): string {
    let text = "";
    try {
      for (const one of statements) {
        const value = this.#at(one, environment);
        if (value.type !== "NullValue") text += this.#text(value);
      }
    } catch (jump) {
      if (jump instanceof Jump) jump.text = text + jump.text;
      throw jump;
    }
    return text;
  }

  /** What the statements print, which have variables of their own. */
  #printed(statements: readonly Node[], environment: Environment): Node {
    return held(make.text(this.#block(statements, new Environment(environment))));
  }

  /** What a loop prints. Each iteration has variables of its own. */
  #loop(node: Node, environment: Environment): string {
    const [iterable, target] = [node.iterable as Node, node.loopvar as Node];
    const filter = iterable.type === "SelectExpression" ? iterable : undefined;
    const scopeOf = (item: Value) => assigned(target, item, new Environment(environment));
    const all = this.#at(filter ? filter.lhs : iterable, environment);
    this.#countItems(true, all);
    let items = iterated(all, "for");
    if (filter) items = items.filter((one) => truthy(this.#at(filter.test, scopeOf(one))));
    // An iteration costs as much as ten expressions.
    this.#take(10 * items.length);
    const loop = loopOf(items);
    let text = "";
    let completed = false;
    for (const [i, item] of items.entries()) {
      const scope = scopeOf(item);
      scope.setVariable("loop", loop(i));
      try {
        text += this.#block(node.body as Node[], scope);
        completed = true;
      } catch (jump) {
        if (!(jump instanceof Jump)) throw jump;
        text += jump.text;
        if (jump.type === "Break") break;
      }
    }
    if (completed) return text;
    return text + this.#block(node.defaultBlock as Node[], new Environment(environment));
  }

  #given(args: Node[], environment: Environment): Given {
    const named = new Map<string, Value>();
    const positional: Value[] = [];
    for (const one of args) {
      if (one.type === "KeywordArgumentExpression") {
        named.set((one.key as Node).value as string, this.#at(one.value, environment));
      } else if (one.type === "KeywordSpreadExpression") {
        const mapping = mappingOf(this.#at(one.argument, environment)) ?? [];
        for (const [key, value] of mapping) named.set(String(key), value);
      } else if (one.type === "SpreadExpression") {
        const all = this.#at(one.argument, environment);
        this.#countItems(true, all);
        positional.push(...iterated(all, "*"));
      } else positional.push(this.#at(one, environment));
    }
    return { args: positional, named };
  }

  #filter(name: string, operand: Value, given: Given, environment: Environment): Value {
    if (name.startsWith(TEST)) {
      const negated = name.startsWith(`${TEST}not `);
      const test = name.slice(negated ? TEST.length + 4 : TEST.length);
      return make.boolean(this.#test(test, operand, given.args) !== negated);
    }
    const apply: Apply = {
      filter: (other, value, args) => this.#filter(other, value, args, environment),
      test: (test, value, { args }) => this.#test(test, value, args),
    };
    this.#countFilter(name, operand, given);
    const own = pythonFilters.get(name);
    if (own) return own(operand, given, apply);
    const callee = { type: "Identifier", value: name };
    const args = nodesOf(given);
    const filter = args.length > 0 ? { type: "CallExpression", callee, args } : callee;
    return super.evaluate(
      statementOf({ type: "FilterExpression", operand: held(operand), filter }),
      environment,
    );
  }

  #countFilter(name: string, operand: Value, { args }: Given): void {
    if (SHALLOW.has(name)) return this.#countItems(true, operand);
    const work = this.#count(MADE, operand, ...args);
    const items = itemsOf(operand)?.length ?? mappingOf(operand)?.size ?? textOf(operand)?.length ??
      0;
    // Every item is compared with every other, or with as many as a sort takes.
    if (name === "unique") this.#take(work * items / 8);
    if (name === "sort" || name === "dictsort") this.#take(work * Math.log2(items + 1));
  }

  /** What is printed of a value. To join a text to others costs nothing. */
  #text(value: Value): string {
    if (textOf(value) === undefined) this.#count(READ, value);
    return pythonText(value);
  }

  #test(name: string, value: Value, [argument = undefinedValue]: readonly Value[]): boolean {
    const test = pythonTests.get(name);
    if (argument !== undefinedValue) this.#count(READ, value, argument);
    if (test) return test(value, argument);
    throw new TypeError(`unknown test: ${name}`);
  }
}

/** A macro that sees the variables of where it stands, not of where it is called, and only its own `caller`. */
function lexical(run: Function, environment: Environment): Function {
  return (args, scope) => {
    const own = new Environment(environment);
    const caller = scope.variables.get("caller");
    if (caller) own.setVariable("caller", caller);
    return run(args, own);
  };
}

/** `scope` with `value`, or its parts, under the names of `target`. */
function assigned(target: Node, value: Value, scope: Environment): Environment {
  if (target.type === "Identifier") {
    scope.setVariable(target.value as string, value);
  } else if (target.type === "TupleLiteral") {
    const names = target.value as Node[];
    const parts = iterated(value, "for");
    if (parts.length !== names.length) {
      throw new TypeError(`for: ${parts.length} values, expected ${names.length}`);
    }
    names.forEach((name, i) => assigned(name, parts[i], scope));
  } else throw new TypeError(`for: ${target.type} is no name`);
  return scope;
}

function filterOf(filter: Node): { name: string; args: Node[] } {
  return filter.type === "CallExpression"
    ? { name: (filter.callee as Node).value as string, args: filter.args as Node[] }
    : { name: filter.value as string, args: [] };
}

function nodesOf({ args, named }: Given): Node[] {
  return [
    ...args.map(held),
    ...[...named].map(([key, value]) => ({
      type: "KeywordArgumentExpression",
      key: { type: "Identifier", value: key },
      value: held(value),
    })),
  ];
}

function held(value: Value): Node {
  return { type: "Held", value };
}

function statementOf(node: Node): Statement {
  return node as unknown as Statement;
}
