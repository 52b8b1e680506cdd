import type { Prompt } from "../engine/types.ts";
import { tooLong } from "../common/too_long.ts";
import { ApiError } from "./api_error.ts";

/**
 * More characters than any vocabulary puts into a token on average over a whole prompt: the longest tokens, runs of
 * blanks, have about 128. Tokenizing 30 MB to learn that it does not fit took 1.5 s of the engine's time.
 */
const maxCharactersPerToken = 128;

/**
 * Refuses a prompt that cannot fit whatever its tokens turn out to be; the engine counts the others exactly. Throws
 * `ApiError` 400.
 *
 * @param continued whether a token has to follow it; default true
 */
export function checkPromptLength(
  prompt: Prompt,
  contextLength: number,
  param: string,
  continued = true,
): void {
  const { tokens, characters } = promptSize(prompt);
  const least = tokens + Math.ceil(characters / maxCharactersPerToken);
  if (least + Number(continued) <= contextLength) return;
  const met = characters === 0 ? `${tokens} tokens` : `${characters} characters`;
  throw ApiError.invalid(
    tooLong(`${param} has ${met}`, contextLength, continued),
    param,
    "context_length_exceeded",
  );
}

/** What a prompt has of each: tokens that come as such, and characters. */
export function promptSize(prompt: Prompt): { tokens: number; characters: number } {
  let tokens = 0;
  let characters = 0;
  if (prompt.type === "chat") {
    for (const { content, toolCalls } of prompt.messages) {
      characters += content.length + (toolCalls ? JSON.stringify(toolCalls).length : 0);
    }
    if (prompt.tools) characters += JSON.stringify(prompt.tools).length;
  } else {
    for (const part of prompt.parts) {
      if (part.type === "tokens") tokens += part.ids.length;
      else characters += part.text.length;
    }
  }
  return { tokens, characters };
}
