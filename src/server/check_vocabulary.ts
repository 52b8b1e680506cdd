import type { Prompt } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";

/** Throws `ApiError` 400 for a token of `prompt` beyond the vocabulary of `size`. `name`: where in the request it is, in its field `param`. */
export function checkVocabulary(prompt: Prompt, size: number, name: string, param: string): void {
  if (prompt.type !== "parts") return;
  for (const part of prompt.parts) {
    const bad = part.type === "tokens" ? part.ids.findIndex((id) => id >= size) : -1;
    if (part.type === "tokens" && bad >= 0) {
      throw ApiError.invalid(
        `${name}.${bad}: token ${part.ids[bad]}, expected less than the vocabulary's ${size}`,
        param,
      );
    }
  }
}
