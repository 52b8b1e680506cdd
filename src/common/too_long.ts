/**
 * What is said of a prompt that does not fit: in OpenAI's words, by which programs (LiteLLM's) know this failure from others.
 *
 * @param met what was found
 * @param continued whether a token has to follow the prompt
 */
export function tooLong(met: string, context: number, continued: boolean): string {
  const most = continued ? `, of them at most ${context - 1} of the prompt` : "";
  return `${met}, this model's maximum context length is ${context} tokens${most}`;
}
