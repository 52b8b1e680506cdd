import { damageFeatures, type DamageModel, levelProbabilities } from "./damage.ts";

/** Decibels that the second bank of weights gains over the first, linear in a frame's damage features (`damage.py`). */
export interface BankModel {
  weight: Float32Array;
  bias: number;
  /** The estimate that tells when the third bank, for heavy damage, takes the second one's place; without it, never. */
  damage?: DamageModel;
}

/** Frames between looks, so that they cost a hundredth of a frame's time. */
const interval = 4;
/** Decibels by which the other bank must promise to be better: frames near the border would flicker between the two. */
const margin = 0.05;
/** Mean damage level from which on the third bank is meant (it is fitted to levels 3 to 5), and how far past it the level must be. */
const heavy = { from: 2.5, margin: 0.25 };
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
  readonly #damage: DamageModel | undefined;
  #gain: number | undefined;
  #level = 0;
  #bank = 0;
  #heavy = false;
  #since = 0;

  /** Starts with no frame seen; `still` when the frame to come is the only one. */
  constructor(model: BankModel, { still = false }: { still?: boolean } = {}) {
    this.#model = model;
    this.#threshold = thresholds[still ? "still" : "stream"];
    // The third bank is there against flicker, which a still has none of.
    this.#damage = still ? undefined : model.damage;
  }

  /** The bank for the next frame: 0, 1, or 2 where the model tells the level of damage. */
  choose(luma: Uint8Array, width: number, height: number): number {
    if (this.#gain === undefined || ++this.#since >= interval) {
      this.#look(luma, width, height);
      this.#since = 0;
    }
    return this.#bank === 1 && this.#heavy ? 2 : this.#bank;
  }

  #look(luma: Uint8Array, width: number, height: number): void {
    const features = damageFeatures(luma, width, height);
    const now = features.reduce((sum, f, i) => sum + f * this.#model.weight[i], this.#model.bias);
    const level = this.#damage
      ? levelProbabilities(features, this.#damage).reduce((sum, p, k) => sum + p * k, 0)
      : 0;
    if (this.#gain === undefined) {
      this.#gain = now;
      this.#level = level;
      this.#bank = Number(now > this.#threshold);
      this.#heavy = level > heavy.from;
    } else {
      this.#level += freshness * (level - this.#level);
      const past = this.#level - heavy.from;
      if (Math.abs(past) > heavy.margin) this.#heavy = past > 0;
      this.#gain += freshness * (now - this.#gain);
      const excess = this.#gain - this.#threshold;
      if (Math.abs(excess) > margin) this.#bank = Number(excess > 0);
    }
  }

  /** Forgets what was seen: the next frame is looked at for itself. */
  reset(): void {
    this.#gain = undefined;
  }
}
