import { ConstraintError } from "../common/errors.ts";
import type { JsonSchema } from "./text_constraint.ts";

/** Rounds after which a schema that is still not understood counts as one that has texts. */
const MOST_ROUNDS = 64;

type Schema = Readonly<Record<string, unknown>>;

/**
 * Refuses a schema all of whose texts would be endless, since what it requires requires itself: no generation under it could end.
 * @param schema as `readJsonSchema` returns it
 * @param find the schema that a reference leads to
 * @throws {ConstraintError}
 */
export function checkFiniteTexts(schema: JsonSchema, find: (reference: string) => unknown): void {
  const finite = new FiniteTexts(find);
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const known = finite.known;
    if (finite.has(schema)) return;
    if (finite.known === known) {
      throw new ConstraintError(
        "JSON schema: every text of it is endless, since it requires itself",
      );
    }
  }
}

/** The schemas that have a finite text, found from the inside out: a round finds those that need what earlier rounds found. */
class FiniteTexts {
  readonly #find: (reference: string) => unknown;
  readonly #finite = new Set<object>();
  /** Schemas on the way to the one being looked at, and those that a round has looked at in vain. */
  readonly #looked = new Set<object>();
  #depth = 0;

  constructor(find: (reference: string) => unknown) {
    this.#find = find;
  }

  /** Schemas known to have one. */
  get known(): number {
    return this.#finite.size;
  }

  /** Whether a schema is known to have a finite text after another look. */
  has(schema: unknown): boolean {
    if (typeof schema !== "object" || schema === null) return true;
    if (this.#finite.has(schema)) return true;
    if (this.#looked.has(schema)) return false;
    this.#looked.add(schema);
    this.#depth++;
    const found = this.#look(schema as Schema);
    this.#depth--;
    if (this.#depth === 0) this.#looked.clear();
    if (found) this.#finite.add(schema);
    return found;
  }

  #look(schema: Schema): boolean {
    const { $ref, allOf, anyOf, oneOf, type } = schema;
    if (typeof $ref === "string" && !this.has(this.#find($ref))) return false;
    if (Array.isArray(allOf) && !allOf.every((one) => this.has(one))) return false;
    for (const union of [anyOf, oneOf]) {
      if (Array.isArray(union) && !union.some((one) => this.has(one))) return false;
    }
    // Of several types one that holds nothing would do.
    if (type === "object") return this.#object(schema);
    return type === "array" ? this.#array(schema) : true;
  }

  #object({ required, properties, additionalProperties }: Schema): boolean {
    const own = Object(properties);
    return !Array.isArray(required) ||
      required.every((name: string) =>
        this.has(Object.hasOwn(own, name) ? own[name] : additionalProperties)
      );
  }

  #array({ minItems, prefixItems, items }: Schema): boolean {
    const least = typeof minItems === "number" ? minItems : 0;
    const first = Array.isArray(prefixItems) ? prefixItems : [];
    return first.slice(0, least).every((one) => this.has(one)) &&
      (least <= first.length || this.has(items));
  }
}
