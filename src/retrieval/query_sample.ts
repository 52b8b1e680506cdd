/** Queries per KV head that an index is built from: as many as it trains on, and those held out. */
const MIN_QUERIES = 4096;

/**
 * Distance between the positions whose queries are kept as a sample of the prompt's own. It depends on the prompt alone, not on how
 * its prefill was cut into steps.
 *
 * @param tokens positions that are computed
 * @param group query heads per KV head: each position gives as many queries
 * @param maxShare most of a step's positions that may be kept, as a fraction
 */
export function sampleStride(tokens: number, group: number, maxShare: number): number {
  // An index trains on one query for 32 keys where that is more: twice as many leave it a choice.
  const wanted = Math.max(MIN_QUERIES, tokens / 16) / group;
  return Math.max(1, Math.ceil(1 / maxShare), Math.floor(tokens / wanted));
}

/** Indexes i in [0, count) of which `first + i` is a multiple of `stride`. */
export function sampled(first: number, count: number, stride: number): number[] {
  const start = (stride - first % stride) % stride;
  const indexes: number[] = [];
  for (let i = start; i < count; i += stride) indexes.push(i);
  return indexes;
}
