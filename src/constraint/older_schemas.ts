import { schemaKeywords } from "./json_schema_keywords.ts";

type Schema = Readonly<Record<string, unknown>>;

/**
 * A schema in the words of JSON Schema 2020-12. Clients also write those of draft 7, where a tuple's schemas are an array in `items` (the AI SDK), and of
 * OpenAPI 3.0, where `nullable` adds null to `type` (smolagents). What is no such schema stays as it is, to be refused by its reader.
 */
export class OlderSchemas {
  /** The whole schema, rewritten. */
  readonly root: unknown;
  /** Those, rewritten, whose `items` were an array. */
  readonly #tuples = new WeakSet<object>();

  /** @param mostLevels schemas within schemas that are looked at; what is deeper stays as it is */
  constructor(root: unknown, mostLevels: number) {
    this.root = this.#rewritten(root, mostLevels);
  }

  /** Where `keyword` of a rewritten schema is: references were written before. */
  keyword(schema: object, keyword: string): string {
    return this.#tuples.has(schema) ? tupleKeywords.get(keyword) ?? keyword : keyword;
  }

  #rewritten(schema: unknown, levels: number): unknown {
    if (!isRecord(schema) || levels < 0) return schema;
    const tuple = Array.isArray(schema.items) && !("prefixItems" in schema);
    const entries = Object.entries(schema).map(([name, value]): [string, unknown] => {
      const keyword = tuple ? tupleKeywords.get(name) ?? name : name;
      return [keyword, this.#value(keyword, value, levels - 1)];
    }).filter(([keyword, value]) => !(tuple && keyword === "prefixItems" && isEmpty(value)));
    const rewritten = withNull(Object.fromEntries(entries));
    if (tuple) this.#tuples.add(rewritten);
    return rewritten;
  }

  #value(keyword: string, value: unknown, levels: number): unknown {
    switch (schemaKeywords.get(keyword)) {
      case "schema":
        return this.#rewritten(value, levels);
      case "schemas":
        return Array.isArray(value) ? value.map((one) => this.#rewritten(one, levels)) : value;
      case "schema by name":
        return isRecord(value)
          ? Object.fromEntries(
            Object.entries(value).map(([name, one]) => [name, this.#rewritten(one, levels)]),
          )
          : value;
      default:
        return value;
    }
  }
}

/** Draft 7's keywords of a tuple, and today's. */
const tupleKeywords: ReadonlyMap<string, string> = new Map([
  ["items", "prefixItems"],
  ["additionalItems", "items"],
]);

/** `nullable` adds null to the types beside it; values that `enum` or `const` names are all there are nevertheless. */
function withNull(schema: Schema): Schema {
  const { nullable, ...rest } = schema;
  if (nullable !== true || !("type" in rest)) return schema;
  const types = [rest.type].flat();
  return types.includes("null") ? rest : { ...rest, type: [...types, "null"] };
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
