/** A number within a value of JSON, and the JSON pointer of it. */
export interface FoundNumber {
  path: string;
  value: number;
}

/**
 * The first number within `value` of which JSON's parser may have kept another than was written: one too large for a double (infinite), or
 * a whole one past `Number.MAX_SAFE_INTEGER`, where doubles leave integers out. Undefined where there is none.
 */
export function inexactNumber(value: unknown, path: string): FoundNumber | undefined {
  if (typeof value === "number") {
    const exact = Number.isSafeInteger(value) || Number.isFinite(value) && !Number.isInteger(value);
    return exact ? undefined : { path, value };
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, one] of Object.entries(value)) {
    const found = inexactNumber(one, `${path}/${pointerPart(name)}`);
    if (found) return found;
  }
  return undefined;
}

/** A name as part of a JSON pointer. */
export function pointerPart(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
