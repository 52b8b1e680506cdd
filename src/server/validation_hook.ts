import { ApiError } from "./api_error.ts";
import { fieldName, type Issue, validationWords } from "./validation_words.ts";

type Validated = { success: true } | {
  success: false;
  error: { issues: Issue[] };
  target: string;
  data?: unknown;
};

/** Turns a failed validation into OpenAI's error, naming the field, the value met and the value expected. */
export function validationHook(result: unknown): void {
  const validated = result as Validated;
  if (validated.success) return;
  const { issues } = validated.error;
  throw ApiError.invalid(
    validationWords(issues, validated.data),
    fieldName(issues[0].path) || undefined,
    "invalid_value",
  );
}
