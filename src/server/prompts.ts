import type { Prompt } from "../engine/types.ts";
import { ApiError } from "./api_error.ts";

/**
 * The prompts of a field that holds one or several: texts, or arrays of tokens. Throws `ApiError` 400 for tokens that are none.
 *
 * @param special whether control tokens written in texts are recognised
 */
export function toPrompts(
  input: string | number[] | string[] | number[][],
  { field, special }: { field: string; special: boolean },
): Prompt[] {
  const toPrompt = (one: string | number[], name: string): Prompt => {
    if (typeof one === "string") {
      return { type: "parts", parts: [{ type: "text", text: one, special }] };
    }
    if (one.length === 0) throw ApiError.invalid(`${name}: expected tokens, got none`, field);
    return { type: "parts", parts: [{ type: "tokens", ids: one }] };
  };
  if (typeof input === "string") return [toPrompt(input, field)];
  const several = typeof input[0] !== "number" && input.length > 0;
  if (!several) return [toPrompt(input as number[], field)];
  const name = (index: number) => input.length === 1 ? field : `${field}.${index}`;
  return (input as (string | number[])[]).map((one, index) => toPrompt(one, name(index)));
}
