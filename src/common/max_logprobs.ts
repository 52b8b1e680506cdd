/** Likeliest tokens that can be listed beside a token: OpenAI's limit. */
export const MAX_LOGPROBS = 20;
