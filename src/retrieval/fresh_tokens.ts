/**
 * Tokens at a prompt's end that are computed whatever the prefix cache holds, so that an index has queries to be built from: with
 * two query heads per KV head, they give a quarter of what an index of a long prompt trains on.
 */
export const FRESH_TOKENS = 512;
