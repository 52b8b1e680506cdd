import type { RetrievalLoad } from "./retrieval_load.ts";

/** What a step's share of a layer was: reports `[rows, heads, 3]` as `KvContext.attend` gives them. */
export interface LayerReport {
  layer: number;
  layers: number;
  reports: Float32Array;
  /** Whether the reports hold bounds. */
  bound: boolean;
  rows: number;
  /** Keys that exact attention would have scored. */
  keysHeld: number;
  seconds: number;
}

/** Counts what retrieval does. */
export class RetrievalTotals {
  #tokens = 0;
  #keysScanned = 0;
  #keysHeld = 0;
  #searchSeconds = 0;
  #restShare = 0;
  #boundShare = 1;

  /** Adds a layer of a step; layers come in order. */
  add({ layer, layers, reports, bound, rows, keysHeld, seconds }: LayerReport): void {
    if (layer === 0) {
      this.#tokens += rows;
      if (bound) this.#restShare = this.#boundShare = 0;
    }
    const parts = layers * reports.length / 3;
    for (let i = 0; i < reports.length; i += 3) {
      this.#keysScanned += reports[i];
      if (!bound) continue;
      this.#restShare += reports[i + 1] / parts;
      this.#boundShare += reports[i + 2] / parts;
    }
    this.#keysHeld += keysHeld;
    this.#searchSeconds += seconds;
  }

  /** The counts so far. */
  get snapshot(): Omit<RetrievalLoad, "ready" | "building" | "cpuBytes" | "idleBytes" | "shared"> {
    return {
      tokens: this.#tokens,
      keysScanned: this.#keysScanned,
      keysHeld: this.#keysHeld,
      searchSeconds: this.#searchSeconds,
      restShare: this.#restShare,
      boundShare: this.#boundShare,
    };
  }
}
