/**
 * Whether Python's `==` holds for two values of a template: lists and mappings are compared by what they hold, and `''` is neither 0 nor
 * false, but true is 1.
 *
 * @param a a string, number, boolean or undefined, an array of the engine's values, or a map to them
 */
export function pythonEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isNumber(a) && isNumber(b)) return Number(a) === Number(b);
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((one, i) => pythonEqual(one.value, b[i].value));
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size &&
      [...a].every(([key, one]) => b.has(key) && pythonEqual(one.value, b.get(key).value));
  }
  return false;
}

/** Whether a value counts as a number, as booleans do. */
function isNumber(value: unknown): boolean {
  return typeof value === "number" || typeof value === "boolean";
}
