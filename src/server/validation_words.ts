import { cut } from "../common/cut.ts";

/** What a schema found at fault. */
export interface Issue {
  message: string;
  path: PropertyKey[];
}

/** Faults of one request that are told. */
const mostIssues = 10;
/** Characters of a field's name, a fault and a value that are told. */
const mostPath = 120;
const mostWords = 400;
const mostShown = 80;
/** Values within a value that are looked at to show it. */
const mostNodes = 100;

/** The faults found in `data`, each with its field and the value met. */
export function validationWords(issues: readonly Issue[], data: unknown): string {
  const texts = issues.slice(0, mostIssues).map((issue) => describe(issue, data));
  if (issues.length > mostIssues) texts.push(`${issues.length - mostIssues} more`);
  return texts.join("; ");
}

/** A field's name, of the body if it is empty. */
export function fieldName(path: readonly PropertyKey[]): string {
  return cut(path.map(String).join("."), mostPath);
}

/** A value as it is told of in an error, in 80 characters at most, however large it is. */
export function shownValue(value: unknown): string {
  if (value === undefined) return "nothing";
  let left = mostNodes;
  const text = JSON.stringify(value, (_key, one) => {
    if (left-- <= 0) return undefined;
    return typeof one === "string" || Array.isArray(one) ? one.slice(0, mostNodes) : one;
  });
  return cut(text ?? String(value), mostShown);
}

function describe({ path, message }: Issue, data: unknown): string {
  let value = data;
  for (const key of path) {
    value = value === null || value === undefined
      ? undefined
      : (value as Record<PropertyKey, unknown>)[key];
  }
  const words = cut(message.replace(/^Invalid input: /, ""), mostWords);
  return `${fieldName(path) || "body"}: ${words} (got ${shownValue(value)})`;
}
