import { Template } from "@huggingface/jinja";
import { pythonContains } from "./python_contains.ts";
import { pythonEqual } from "./python_equal.ts";
import { pythonText } from "./python_text.ts";
import { stripCharacters } from "./strip_characters.ts";

/** A node of the engine's syntax tree. */
interface Node {
  type: string;
  [field: string]: unknown;
}

/** What may be a list or a mapping. */
const NAMES = new Set([
  "Identifier",
  "MemberExpression",
  "ArrayLiteral",
  "ObjectLiteral",
  "CallExpression",
]);
/** Fields that hold what is printed in turn. */
const BLOCKS = new Set(["body", "alternate", "defaultBlock"]);
const STRIPS = new Set(["strip", "lstrip", "rstrip"]);

/** What rewritten templates call. */
const helpers = {
  python_contains: pythonContains,
  python_equal: pythonEqual,
  python_text: pythonText,
  python_strip: stripCharacters,
};

/**
 * A Jinja template that means what it does in Python, for which templates of chats were written. The engine differs in some
 * things, most of them silently, which are written anew in its syntax tree: `strip('\n')` (and `lstrip`, `rstrip`) takes off all white space;
 * `x | string` and `{{ x }}` of a list or mapping are JSON or fail, and `~` writes a mapping as `[object Map]`; `''` equals false, and a list
 * no other; and what is undefined may not be looked for with `in`. Line breaks are those of Unix, as there.
 */
export class PythonTemplate {
  readonly #template: Template;

  /**
   * @param source the template
   * @param prelude Jinja put in front of it that prints nothing
   * @throws {Error} when it does not parse.
   */
  constructor(source: string, prelude = "") {
    this.#template = new Template(source.replace(/\r\n?/g, "\n"));
    const { parsed } = this.#template;
    parsed.body.unshift(...new Template(prelude).parsed.body);
    rewrite(parsed as unknown as Node);
  }

  /** The text that the template makes with these variables. @throws {Error} when it fails. */
  render(variables: Record<string, unknown>): string {
    return this.#template.render({ ...variables, ...helpers });
  }
}

/** Rewrites what is within `node`, then returns what stands in its place. */
function rewrite(node: Node): Node {
  for (const [field, value] of Object.entries(node)) {
    if (isNode(value)) node[field] = rewrite(value);
    else if (Array.isArray(value)) {
      const printed = BLOCKS.has(field);
      node[field] = value.map((one) => {
        if (!isNode(one)) return one;
        const rewritten = rewrite(one);
        return printed && NAMES.has(rewritten.type) ? asText(rewritten) : rewritten;
      });
    } else if (value instanceof Map) {
      node[field] = new Map(
        [...value].map(([key, one]) => [rewrite(key as Node), rewrite(one as Node)]),
      );
    }
  }
  return replacement(node);
}

function replacement(node: Node): Node {
  const { callee, args, filter, operator, left, right } = node as Record<string, Node>;
  if (node.type === "CallExpression" && callee.type === "MemberExpression") {
    const method = (callee.property as Node).value;
    const given = args as unknown as Node[];
    if (!callee.computed && STRIPS.has(method as string) && given.length === 1) {
      const parts = { x: callee.object as Node, y: given[0] };
      return expression(`python_strip('${method}', x, y)`, parts);
    }
  }
  if (node.type === "FilterExpression" && filter.type === "Identifier") {
    if (filter.value === "string") {
      return asText(node.operand as Node);
    }
  }
  if (node.type === "BinaryExpression") {
    const parts = { x: left, y: right };
    switch (operator.value) {
      case "==":
        return equality(left, right);
      case "!=":
        return expression("not x", { x: equality(left, right) });
      case "in":
        return expression("python_contains(x, y)", parts);
      case "not in":
        return expression("not python_contains(x, y)", parts);
      case "~":
        if (NAMES.has(left.type)) node.left = asText(left);
        if (NAMES.has(right.type)) node.right = asText(right);
    }
  }
  return node;
}

/** A call would not tell none from what is undefined, which are not equal. */
function equality(x: Node, y: Node): Node {
  if (isNone(y)) return expression("x is none", { x });
  return isNone(x) ? equality(y, x) : expression("python_equal(x, y)", { x, y });
}

function isNone({ type, value }: Node): boolean {
  return type === "Identifier" && (value === "none" || value === "None");
}

/** A call would not tell 1.0 from 1, nor none from what is undefined; but what calls something itself may be done once only. */
function asText(x: Node): Node {
  return calls(x)
    ? expression("python_text(x)", { x })
    : expression("x | string if x is number else 'None' if x is none else python_text(x)", { x });
}

/** Whether there is a call in `value`, a part of the syntax tree. */
function calls(value: unknown): boolean {
  if (value instanceof Map) return [...value].some(calls);
  if (Array.isArray(value)) return value.some(calls);
  return isNode(value) && (value.type === "CallExpression" || Object.values(value).some(calls));
}

/** The expression `source` with `parts` where it names them. */
function expression(source: string, parts: Record<string, Node>): Node {
  const fill = (node: Node): Node => {
    if (node.type === "Identifier" && Object.hasOwn(parts, node.value as string)) {
      return parts[node.value as string];
    }
    for (const [field, value] of Object.entries(node)) {
      if (isNode(value)) node[field] = fill(value);
      else if (Array.isArray(value)) {
        node[field] = value.map((one) => isNode(one) ? fill(one) : one);
      }
    }
    return node;
  };
  return fill(new Template(`{{ ${source} }}`).parsed.body[0] as unknown as Node);
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}
