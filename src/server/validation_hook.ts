import { ApiError } from "./api_error.ts";

interface Issue {
  message: string;
  path: PropertyKey[];
}

type Validated = { success: true } | {
  success: false;
  error: { issues: Issue[] };
  target: string;
  data?: unknown;
};

/** Faults of one request that are told. */
const mostIssues = 10;

/** Turns a failed validation into OpenAI's error, naming the field, the value met and the value expected. */
export function validationHook(result: unknown): void {
  const validated = result as Validated;
  if (validated.success) return;
  const issues = validated.error.issues;
  const texts = issues.slice(0, mostIssues).map((issue) => describe(issue, validated.data));
  if (issues.length > mostIssues) texts.push(`${issues.length - mostIssues} more`);
  throw ApiError.invalid(
    texts.join("; "),
    issues[0].path.map(String).join(".") || undefined,
    "invalid_value",
  );
}

function describe({ path, message }: Issue, data: unknown): string {
  let value = data;
  for (const key of path) {
    value = value === null || value === undefined
      ? undefined
      : (value as Record<PropertyKey, unknown>)[key];
  }
  const shown = value === undefined ? "nothing" : JSON.stringify(value) ?? String(value);
  const short = shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
  return `${path.map(String).join(".") || "body"}: ${
    message.replace(/^Invalid input: /, "")
  } (got ${short})`;
}
