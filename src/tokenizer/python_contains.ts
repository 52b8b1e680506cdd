import { pythonEqual } from "./python_equal.ts";

/**
 * Whether Python's `in` holds for two values of a template: a part of a string, an item of a list, or a key of a mapping. Nothing is in what
 * is undefined.
 *
 * @param container a string, an array of the engine's values, a map to them, or undefined
 * @throws {TypeError} for a container that is none, or another value than a string in a string.
 */
export function pythonContains(value: unknown, container: unknown): boolean {
  if (container === undefined) return false;
  if (Array.isArray(container)) return container.some((one) => pythonEqual(one.value, value));
  if (container instanceof Map) return typeof value === "string" && container.has(value);
  if (typeof container === "string" && typeof value === "string") return container.includes(value);
  throw new TypeError(`${typeof value} in ${typeof container}, expected a list, mapping or string`);
}
