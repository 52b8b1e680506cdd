/** What retrieval holds and did; totals since the model was opened. */
export interface RetrievalLoad {
  /** Sequences whose prefix is indexed, so that they decode by retrieval. */
  ready: number;
  /** Indexes being built. */
  building: number;
  /** Bytes of keys, values and indexes in CPU memory. */
  cpuBytes: number;
  /** Of `cpuBytes`, those that no sequence uses now but another whose prompt starts alike may. */
  idleBytes: number;
  /** Sequences that use a prefix which another has read. */
  shared: number;
  /** Tokens decoded by retrieval. */
  tokens: number;
  /** Keys and centroids scored on the CPU, all heads and layers. */
  keysScanned: number;
  /** Keys that exact attention would have scored there. */
  keysHeld: number;
  /** Seconds in search and attention on the CPU. */
  searchSeconds: number;
  /**
   * Mean share of the attention mass outside the window that was estimated rather than computed, or left out, of the latest step for which
   * `boundShare` was computed.
   */
  restShare: number;
  /** Upper bound on that share, the mean over heads of the latest step for which it was computed; 1 before the first. */
  boundShare: number;
}
