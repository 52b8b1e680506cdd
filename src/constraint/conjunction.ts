import { ConstraintError } from "../common/errors.ts";
import { schemaKeywords } from "./json_schema_keywords.ts";
import type { JsonSchema } from "./text_constraint.ts";

/** Regular expressions that one string has to match together, at most: each about doubles what the automaton takes to begin. */
const MOST_TOGETHER = 5;

type Schema = Readonly<Record<string, unknown>>;

/**
 * Refuses a schema under which one string has to match many patterns at once: their conjunction takes exponential time to compile (12: 50 ms,
 * 20: 10 s).
 * @param schema as `readJsonSchema` returns it
 * @param find the schema that a reference leads to
 * @throws {ConstraintError} naming the place.
 */
export function checkConjunctions(schema: JsonSchema, find: (reference: string) => unknown): void {
  new Counter(find).visit(schema, "#");
}

class Counter {
  readonly #find: (reference: string) => unknown;
  /** Patterns that hold together for a value of a schema; 0 while being counted, for references to themselves. */
  readonly #known = new Map<object, number>();

  constructor(find: (reference: string) => unknown) {
    this.#find = find;
  }

  /** Counts for a schema and all within it. */
  visit(schema: unknown, path: string): void {
    if (typeof schema !== "object" || schema === null) return;
    if (this.#together(schema) > MOST_TOGETHER) {
      throw new ConstraintError(
        `JSON schema: at ${path} more than ${MOST_TOGETHER} patterns and formats hold together for one value`,
      );
    }
    for (const [keyword, value] of Object.entries(schema)) {
      const own = `${path}/${keyword}`;
      const kind = schemaKeywords.get(keyword);
      if (kind === "schema") this.visit(value, own);
      else if (kind === "schemas" || kind === "schema by name") {
        for (const [name, one] of Object.entries(Object(value))) this.visit(one, `${own}/${name}`);
      }
    }
  }

  #together(schema: unknown): number {
    if (typeof schema !== "object" || schema === null) return 0;
    const known = this.#known.get(schema);
    if (known !== undefined) return known;
    this.#known.set(schema, 0);
    const { pattern, format, allOf, anyOf, oneOf, $ref, patternProperties } = schema as Schema;
    const each = (list: unknown) =>
      Array.isArray(list) ? list.map((one) => this.#together(one)) : [];
    const sum = each(allOf).reduce((total, count) => total + count, 0);
    const alternatives = Math.max(0, ...each(anyOf)) + Math.max(0, ...each(oneOf));
    const own = Number(typeof pattern === "string") + Number(typeof format === "string");
    const referred = typeof $ref === "string" ? this.#together(this.#find($ref)) : 0;
    // The name of any other property matches none of these.
    const names = Object.keys(Object(patternProperties)).length;
    const count = own + sum + alternatives + referred + names;
    this.#known.set(schema, count);
    return count;
  }
}
