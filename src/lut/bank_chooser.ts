import { damageFeatures } from "./damage.ts";

/** Decibels that the second bank of weights gains over the first, linear in a frame's damage features (`damage.py`). */
export interface BankModel {
  weight: Float32Array;
  bias: number;
}

/** Frames between looks, so that they cost a hundredth of a frame's time. */
const interval = 4;
/** Decibels by which the other bank must promise to be better: frames near the border would flicker between the two. */
const margin = 0.05;
/** Weight of a look against those before it. */
const freshness = 0.5;

/**
 * Decibels that the mixed bank must promise. A stream is compressed until shown otherwise: down to -0.1, held-out damaged frames
 * gain up to 0.055 dB more and sharp clean ones lose 0.007. A still is likelier to be clean: above 0.1 no clean held-out still took
 * the bank that costs it 0.25 dB.
 */
const thresholds = { stream: -0.1, still: 0.1 } as const;

/** Chooses the bank of weights for each frame of a stream: from its damage, averaged, and with some reluctance to change. */
export class BankChooser {
  readonly #model: BankModel;
  readonly #threshold: number;
  #gain: number | undefined;
  #bank = 0;
  #since = 0;

  /** Starts with no frame seen; `still` when the frame to come is the only one. */
  constructor(model: BankModel, { still = false }: { still?: boolean } = {}) {
    this.#model = model;
    this.#threshold = thresholds[still ? "still" : "stream"];
  }

  /** The bank for the next frame, 0 or 1. */
  choose(luma: Uint8Array, width: number, height: number): number {
    if (this.#gain !== undefined && ++this.#since < interval) return this.#bank;
    this.#since = 0;
    const features = damageFeatures(luma, width, height);
    const now = features.reduce((sum, f, i) => sum + f * this.#model.weight[i], this.#model.bias);
    if (this.#gain === undefined) {
      this.#gain = now;
      this.#bank = Number(now > this.#threshold);
    } else {
      this.#gain += freshness * (now - this.#gain);
      const excess = this.#gain - this.#threshold;
      if (Math.abs(excess) > margin) this.#bank = Number(excess > 0);
    }
    return this.#bank;
  }

  /** Forgets what was seen: the next frame is looked at for itself. */
  reset(): void {
    this.#gain = undefined;
  }
}
