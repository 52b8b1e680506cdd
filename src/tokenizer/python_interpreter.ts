import { type Environment, Interpreter } from "@huggingface/jinja";
import { type Apply, type Given, pythonFilters } from "./python_filters.ts";
import { pythonMethod } from "./python_methods.ts";
import { pythonOperation } from "./python_operators.ts";
import { TEST } from "./python_source.ts";
import { pythonTests } from "./python_tests.ts";
import { pythonText } from "./python_text.ts";
import {
  isInteger,
  itemsOf,
  iterated,
  make,
  mappingOf,
  textOf,
  undefinedValue,
  type Value,
} from "./python_values.ts";

/** A node of the engine's syntax tree, or one of ours. */
export interface Node {
  type: string;
  [field: string]: unknown;
}

type Statement = Parameters<Interpreter["evaluate"]>[0];

const ORDERED = new Set(["<", "<=", ">", ">="]);

/**
 * Evaluates templates as Python's Jinja does where the engine does otherwise or not at all. Beside the engine's nodes there are `Output`, whose `expression` is
 * printed, and `Held`, which is its `value`.
 */
export class PythonInterpreter extends Interpreter {
  override evaluate(statement: Statement, environment: Environment): Value {
    const node = statement as unknown as Node | undefined;
    const child = (field: string) => this.#at(node![field], environment);
    switch (node?.type) {
      case "Held":
        return node.value as Value;
      case "Output":
        return make.text(pythonText(child("expression")));
      case "BinaryExpression": {
        const { value: operator } = node.operator as { value: string };
        if (operator === "and" || operator === "or") break;
        const { type, operator: inner } = node.left as Node;
        // `a < b < c` means otherwise than what the parser makes of it.
        if (
          ORDERED.has(operator) && type === "BinaryExpression" &&
          ORDERED.has((inner as { value: string }).value)
        ) break;
        return pythonOperation(operator, child("left"), child("right"));
      }
      case "FilterExpression": {
        const { name, args } = filterOf(node.filter as Node);
        if (!name.startsWith(TEST) && !pythonFilters.has(name)) break;
        const given = this.#given(args, environment);
        return this.#filter(name, child("operand"), given, environment);
      }
      case "FilterStatement": {
        const operand = this.#at({ type: "Program", body: node.body }, environment);
        return this.#at(
          { type: "FilterExpression", operand: held(operand), filter: node.filter },
          environment,
        );
      }
      case "TestExpression": {
        const { value: name } = node.test as { value: string };
        return make.boolean(this.#test(name, child("operand"), []) !== node.negate);
      }
      case "MemberExpression": {
        const property = node.property as Node;
        if (!node.computed || property.type === "SliceExpression") break;
        const [object, index] = [child("object"), child("property")];
        const text = textOf(object);
        if (text !== undefined && isInteger(index)) {
          const character = Array.from(text).at(index.value as number);
          return character === undefined ? undefinedValue : make.text(character);
        }
        return super.evaluate(
          statementOf({ ...node, object: held(object), property: held(index) }),
          environment,
        );
      }
      case "CallExpression": {
        const callee = node.callee as Node;
        if (callee.type !== "MemberExpression" || callee.computed) break;
        return this.#method(callee, node.args as Node[], environment);
      }
      case "For":
        return super.evaluate(statementOf(this.#iterable(node, environment)), environment);
    }
    return super.evaluate(statement, environment);
  }

  #at(node: unknown, environment: Environment): Value {
    return this.evaluate(statementOf(node as Node), environment);
  }

  #method(callee: Node, given: Node[], environment: Environment): Value {
    const object = this.#at(callee.object, environment);
    const name = (callee.property as Node).value as string;
    const plain = given.every(({ type }) => !type.includes("Keyword") && !type.includes("Spread"));
    if (plain) {
      const args = given.map((one) => this.#at(one, environment));
      const result = pythonMethod(object, name, args);
      if (result) return result;
      given = args.map(held);
    }
    return super.evaluate(
      statementOf({
        type: "CallExpression",
        callee: { ...callee, object: held(object) },
        args: given,
      }),
      environment,
    );
  }

  /** A loop over what Python goes through, pairs among them as lists, which the engine takes apart. */
  #iterable(node: Node, environment: Environment): Node {
    const iterable = node.iterable as Node;
    const within = iterable.type === "SelectExpression";
    const value = this.#at(within ? iterable.lhs : iterable, environment);
    const pairs = (node.loopvar as Node).type === "TupleLiteral";
    const items = iterated(value, "for").map((one) => {
      const parts = pairs ? itemsOf(one) : undefined;
      return parts ? make.list(parts) : one;
    });
    const list = held(make.list(items));
    return { ...node, iterable: within ? { ...iterable, lhs: list } : list };
  }

  #given(args: Node[], environment: Environment): Given {
    const named = new Map<string, Value>();
    const positional: Value[] = [];
    for (const one of args) {
      if (one.type === "KeywordArgumentExpression") {
        named.set((one.key as Node).value as string, this.#at(one.value, environment));
      } else if (one.type === "KeywordSpreadExpression") {
        const mapping = mappingOf(this.#at(one.argument, environment)) ?? [];
        for (const [key, value] of mapping) named.set(key, value);
      } else if (one.type === "SpreadExpression") {
        positional.push(...iterated(this.#at(one.argument, environment), "*"));
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
    const own = pythonFilters.get(name);
    if (own) return own(operand, given, apply);
    const named = [...given.named].map(([key, value]) => ({
      type: "KeywordArgumentExpression",
      key: { type: "Identifier", value: key },
      value: held(value),
    }));
    const callee = { type: "Identifier", value: name };
    const args = [...given.args.map(held), ...named];
    const filter = args.length > 0 ? { type: "CallExpression", callee, args } : callee;
    return super.evaluate(
      statementOf({ type: "FilterExpression", operand: held(operand), filter }),
      environment,
    );
  }

  #test(name: string, value: Value, [argument = undefinedValue]: readonly Value[]): boolean {
    const test = pythonTests.get(name);
    if (test) return test(value, argument);
    throw new TypeError(`unknown test: ${name}`);
  }
}

function filterOf(filter: Node): { name: string; args: Node[] } {
  return filter.type === "CallExpression"
    ? { name: (filter.callee as Node).value as string, args: filter.args as Node[] }
    : { name: filter.value as string, args: [] };
}

function held(value: Value): Node {
  return { type: "Held", value };
}

function statementOf(node: Node): Statement {
  return node as unknown as Statement;
}
