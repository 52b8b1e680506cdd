import { ConstraintError } from "../common/errors.ts";

/** Values within a schema at most, annotations among them: one within the compiler's limits has a third of that. */
const MOST_VALUES = 128 * 1024;

/**
 * Refuses a schema of so many values that reading it would take seconds: bodies have room for millions.
 * @throws {ConstraintError}
 */
export function checkValues(schema: unknown): void {
  let left = MOST_VALUES;
  const open = [schema];
  while (open.length > 0) {
    const one = open.pop();
    if (typeof one !== "object" || one === null) continue;
    const values: unknown[] = Array.isArray(one) ? one : Object.values(one);
    left -= values.length;
    if (left < 0) {
      throw new ConstraintError(`JSON schema: more than ${MOST_VALUES} values within it`);
    }
    for (const value of values) open.push(value);
  }
}
