/** Tokens of a page of keys and values: scheduler, cache and shaders (shaders/lib/step.wgsl) agree on it. */
export const PAGE_TOKENS = 64;
