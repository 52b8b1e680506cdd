import { layerWindow, type ModelConfig } from "./config.ts";
import type { RopeConfig } from "./rope_config.ts";
import { ropeTable } from "./rope_table.ts";
import type { ModelWeights } from "./weights.ts";

/** The tables of rotations that a model's layers have: one for all, or others for those with a window or without positions. */
export class RopeTables {
  readonly #config: ModelConfig;
  readonly #full: Float32Array<ArrayBuffer>;
  /** For layers that see a window of the context. */
  readonly #window: Float32Array<ArrayBuffer>;
  /** For layers that do not rotate. */
  readonly #unrotated: Float32Array<ArrayBuffer>;

  /** @param contextLength positions that they reach */
  constructor(
    config: ModelConfig,
    paddedHeadDim: number,
    contextLength: number,
    { longRopeFactors: long, ropeFactors: factors }: Pick<
      ModelWeights,
      "longRopeFactors" | "ropeFactors"
    >,
  ) {
    this.#config = config;
    const beyond = contextLength > (config.rope.long?.originalContext ?? contextLength);
    this.#full = ropeTable(
      config.rope,
      paddedHeadDim,
      contextLength,
      long ? (beyond ? long.long : long.short) : factors,
    );
    const other = (rope: RopeConfig) => ropeTable(rope, paddedHeadDim, contextLength);
    this.#window = config.window && config.window.rope !== config.rope
      ? other(config.window.rope)
      : this.#full;
    // Without rotated dimensions every angle is 0.
    this.#unrotated = config.unrotatedPattern > 0
      ? other({ base: 1, dimensions: 0, scale: 1 })
      : this.#full;
  }

  /** The table of a layer: layers have the same or another. */
  of(layer: number): Float32Array<ArrayBuffer> {
    const { unrotatedPattern } = this.#config;
    if (unrotatedPattern > 0 && layer % unrotatedPattern === unrotatedPattern - 1) {
      return this.#unrotated;
    }
    return layerWindow(this.#config, layer) ? this.#window : this.#full;
  }
}
