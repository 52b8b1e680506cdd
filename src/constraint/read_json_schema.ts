import { ConstraintError } from "../common/errors.ts";
import { checkValues } from "./check_values.ts";
import { checkConjunctions } from "./conjunction.ts";
import { withoutOtherFormat } from "./other_formats.ts";
import { inexactNumber, pointerPart } from "./exact_numbers.ts";
import { excludeEachOther } from "./excluding_schemas.ts";
import {
  neutralValues,
  schemaFormats,
  schemaKeywords,
  schemaTypes,
} from "./json_schema_keywords.ts";
import { checkFiniteTexts } from "./finite_texts.ts";
import { NotKept } from "./not_kept.ts";
import { OlderSchemas } from "./older_schemas.ts";
import { plainPattern } from "./plain_patterns.ts";
import { pointerParts, ReferenceNames } from "./reference_names.ts";
import type { SchemaKeeping } from "./schema_keeping.ts";
import { speltOut } from "./spelt_out.ts";
import type { JsonSchema } from "./text_constraint.ts";

/** Schemas inside schemas at most: objects of objects of objects. */
const MOST_LEVELS = 48;
/** Pairs of alternatives that are compared, in all. */
const MOST_COMPARED = 10_000;
/** Schemas within one at most. */
const MOST_SCHEMAS = 5000;
/** Characters written where keywords are spelt out. */
const MOST_WRITTEN_OUT = 64 * 1024;

/**
 * A copy of `schema` without its annotations, and without what `keeping` leaves out.
 * @throws {ConstraintError} for a keyword that is not kept but should be, or a value that its keyword may not have: names the keyword and its
 * path.
 */
export function readJsonSchema(schema: unknown, keeping: SchemaKeeping = "all"): JsonSchema {
  if (keeping === "type") {
    const { type } = Object(schema);
    return type === undefined ? true : { type };
  }
  checkValues(schema);
  const reader = new SchemaReader(schema, keeping);
  const find = (reference: string) => reader.follow(reference);
  try {
    const read = reader.readWhole();
    checkConjunctions(read, find);
    checkFiniteTexts(read, find);
    return read;
  } catch (error) {
    // The stack is at its end.
    if (!(error instanceof RangeError)) throw error;
    throw new ConstraintError("JSON schema: its references lead through too many schemas");
  }
}

class SchemaReader {
  readonly #older: OlderSchemas;
  readonly #root: unknown;
  readonly #keeping: SchemaKeeping;
  #count = 0;
  readonly #look = { resolve: (reference: string) => this.follow(reference), left: MOST_COMPARED };

  readonly #room = {
    resolve: (reference: string) => this.follow(reference),
    left: MOST_WRITTEN_OUT,
  };
  readonly #names: ReferenceNames;

  constructor(root: unknown, keeping: SchemaKeeping) {
    this.#keeping = keeping;
    this.#older = new OlderSchemas(root, MOST_LEVELS);
    this.#root = this.#older.root;
    this.#names = new ReferenceNames(this.#root);
  }

  /** The whole schema, with a definition for each reference whose escapes the compiler does not follow. */
  readWhole(): JsonSchema {
    const read = this.read(this.#root, "#", 0);
    const added: Record<string, unknown> = {};
    for (const { reference, name } of this.#names.renamed()) {
      added[name] = this.read(this.#find(reference), reference, 1);
    }
    if (typeof read === "boolean" || Object.keys(added).length === 0) return read;
    return { ...read, $defs: { ...Object(read.$defs), ...added } };
  }

  read(schema: unknown, path: string, level: number): JsonSchema {
    if (typeof schema === "boolean") return schema;
    if (!isRecord(schema)) throw wrong(path, schema, "a schema: an object or a boolean");
    if (level > MOST_LEVELS) {
      throw new ConstraintError(
        `JSON schema: nested more than ${MOST_LEVELS} levels deep at ${short(path)}`,
      );
    }
    if (++this.#count > MOST_SCHEMAS) {
      throw new ConstraintError(`JSON schema: more than ${MOST_SCHEMAS} schemas within it`);
    }
    const copy: Record<string, unknown> = {};
    const own = withoutOtherFormat(schema);
    const said = this.#kept(() => speltOut(own, short(path), this.#room)) ?? own;
    for (const [keyword, value] of Object.entries(said)) {
      // The name of the whole says nothing about texts; within it, it would change what references mean.
      if (keyword === "$id" && level === 0) continue;
      if (neutralValues.get(keyword)?.includes(JSON.stringify(value))) continue;
      if (this.#keeping === "shape" && isPattern(keyword, said)) continue;
      const read = this.#kept(() => this.#keyword(keyword, value, path, level));
      // Assigned as a property of its own, whatever its name.
      if (read !== undefined) Object.defineProperty(copy, keyword, { ...plain, value: read });
    }
    return this.#union(copy);
  }

  /** What `read` returns; undefined where it is not kept and need not be. */
  #kept<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (this.#keeping !== "all" && error instanceof NotKept) return undefined;
      throw error;
    }
  }

  #keyword(keyword: string, value: unknown, path: string, level: number): unknown {
    if (!schemaKeywords.has(keyword)) {
      throw new NotKept(
        `JSON schema: keyword "${short(keyword)}" at ${short(path)} is not supported`,
      );
    }
    return this.#value(keyword, value, `${path}/${pointerPart(keyword)}`, level);
  }

  /** `schema` with `anyOf` for `oneOf` where that is the same or may be looser; the compiler sees the former only without references. */
  #union(schema: Record<string, unknown>): Record<string, unknown> {
    const { oneOf, ...rest } = schema;
    if (!Array.isArray(oneOf)) return schema;
    if ("anyOf" in schema) {
      if (this.#keeping === "all") return schema;
      const { allOf = [] } = rest;
      return { ...rest, allOf: [...allOf as JsonSchema[], { anyOf: oneOf }] };
    }
    const same = this.#keeping !== "all" || excludeEachOther(oneOf, this.#look);
    return same ? { ...rest, anyOf: oneOf } : schema;
  }

  /** The value of a keyword, read; undefined for an annotation. */
  #value(keyword: string, value: unknown, path: string, level: number): unknown {
    switch (schemaKeywords.get(keyword)!) {
      case "annotation":
        return undefined;
      case "schema":
        return this.read(value, path, level + 1);
      case "schemas":
        if (!Array.isArray(value) || value.length === 0) {
          throw wrong(path, value, "an array of schemas, not empty");
        }
        return value.map((one, i) => this.read(one, `${path}/${i}`, level + 1));
      case "schema by name": {
        if (!isRecord(value)) throw wrong(path, value, "an object of schemas");
        const copy: Record<string, unknown> = {};
        for (const [name, one] of Object.entries(value)) {
          const read = this.read(one, `${path}/${pointerPart(name)}`, level + 1);
          Object.defineProperty(copy, name, { ...plain, value: read });
        }
        return copy;
      }
      case "reference":
        if (typeof value !== "string" || this.#find(value) === undefined) {
          const expected = 'a reference within the schema, such as "#/$defs/name"';
          throw wrong(path, value, expected, typeof value === "string");
        }
        return this.#names.standIn(value);
      case "any":
        checkNumbers(value, path);
        return value;
      case "values":
        if (!Array.isArray(value) || value.length === 0) {
          throw wrong(path, value, "an array, not empty");
        }
        checkNumbers(value, path);
        return value;
      case "names":
        if (!Array.isArray(value) || value.some((name) => typeof name !== "string")) {
          throw wrong(path, value, "an array of strings");
        }
        return value;
      case "type": {
        const types: unknown[] = Array.isArray(value) ? value : [value];
        if (types.length === 0 || types.some((type) => !schemaTypes.has(type))) {
          throw wrong(path, value, `one of ${[...schemaTypes].join(", ")}, or an array of them`);
        }
        return value;
      }
      case "count":
        if (!Number.isSafeInteger(value) || (value as number) < 0) {
          throw wrong(path, value, "an integer of at least 0");
        }
        return value;
      case "number":
        if (typeof value !== "number") throw wrong(path, value, "a number");
        checkNumbers(value, path);
        return value;
      case "positive number":
        if (typeof value !== "number" || value <= 0) {
          throw wrong(path, value, "a number greater than 0");
        }
        checkNumbers(value, path);
        return value;
      case "pattern":
        if (typeof value !== "string" || looksAround(plainPattern(value))) {
          const expected = "a regular expression without look-around and back-references";
          throw wrong(path, value, expected, typeof value === "string");
        }
        return plainPattern(value);
      case "format":
        if (!schemaFormats.has(value)) {
          const expected = `one of ${[...schemaFormats].join(", ")}`;
          throw wrong(path, value, expected, typeof value === "string");
        }
        return value;
    }
  }

  /** The schema, as it was written, to which a reference leads that was written or read. */
  follow(reference: string): unknown {
    return this.#find(this.#names.original(reference));
  }

  /** The schema to which the JSON pointer `reference` leads, as it was written; undefined where there is none. */
  #find(reference: string): unknown {
    if (reference === "#") return this.#root;
    if (!reference.startsWith("#/")) return undefined;
    let at = this.#root;
    for (const part of pointerParts(reference)) {
      if (typeof at !== "object" || at === null) return undefined;
      const name = this.#older.keyword(at, part);
      if (!Object.hasOwn(at, name)) return undefined;
      at = (at as Record<string, unknown>)[name];
    }
    return isRecord(at) || typeof at === "boolean" ? at : undefined;
  }
}

/** Whether a keyword of `schema` says something by patterns of strings or names: `additionalProperties` does so beside those of names. */
function isPattern(keyword: string, schema: Record<string, unknown>): boolean {
  return ["pattern", "format", "patternProperties"].includes(keyword) ||
    keyword === "additionalProperties" && "patternProperties" in schema;
}

const plain = { enumerable: true, configurable: true, writable: true };

/** Whether a regular expression has groups that look ahead or behind, or refers back to groups: by what is no character of a class and not escaped. */
function looksAround(pattern: string): boolean {
  // A class that does not end goes to the end of the pattern: looked for from each bracket anew, it would take the square of its length.
  const bare = pattern.replace(/\\[^1-9k]/gs, "").replace(/\[\^?\]?[^\]]*(?:\]|$)/g, "");
  return /\(\?<?[=!]|\\[1-9k]/.test(bare);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param allowed whether a schema may say so, though it is not kept */
function wrong(path: string, value: unknown, expected: string, allowed = false): ConstraintError {
  const shown = JSON.stringify(value) ?? String(value);
  const Kind = allowed ? NotKept : ConstraintError;
  return new Kind(`JSON schema: ${short(path)} is ${short(shown)}, expected ${expected}`);
}

/** Refuses numbers that would be kept as others than were written. */
function checkNumbers(value: unknown, path: string): void {
  const found = inexactNumber(value, path);
  if (!found) return;
  const most = Number.MAX_SAFE_INTEGER;
  throw new NotKept(
    `JSON schema: ${
      short(found.path)
    } was read as ${found.value}, expected a number that is kept exactly: a whole one of -${most} to ${most}, or a fraction`,
  );
}

function short(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}
