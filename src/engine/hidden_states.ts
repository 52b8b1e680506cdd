import { roundUp } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { COLUMN_MULTIPLE } from "../kernels/weight_matrix.ts";
import type { Transformer } from "../model/transformer.ts";
import type { PooledText } from "./pooled_text.ts";
import type { StepRow } from "./step.ts";

/** Bytes that are read at a time, one row at least. */
const MOST_BYTES = 4 * 2 ** 20;

/** A row of the step whose hidden state is needed. */
interface Needed {
  row: number;
  position: number;
  pooled: PooledText;
}

/**
 * Gives the hidden states of a step to the texts that are embedded: read back as the layers left them, normalised here. Rows have the bits that they
 * have alone, and so have vectors.
 */
export class HiddenStates {
  readonly #gpu: Gpu;
  readonly #transformer: Transformer;
  readonly #readback: Readback;
  readonly #rowBytes: number;
  readonly #atOnce: number;

  private constructor(
    gpu: Gpu,
    transformer: Transformer,
    readback: Readback,
    sizes: { rowBytes: number; atOnce: number },
  ) {
    this.#gpu = gpu;
    this.#transformer = transformer;
    this.#readback = readback;
    this.#rowBytes = sizes.rowBytes;
    this.#atOnce = sizes.atOnce;
  }

  /** Makes what reads the hidden states of `transformer` back. */
  static async open(gpu: Gpu, transformer: Transformer): Promise<HiddenStates> {
    const { maxRows } = transformer.buffers;
    const rowBytes = roundUp(transformer.config.width, COLUMN_MULTIPLE) * 4;
    const atOnce = Math.min(maxRows, Math.max(1, Math.floor(MOST_BYTES / rowBytes)));
    const readback = await Readback.open(gpu, atOnce * rowBytes);
    return new HiddenStates(gpu, transformer, readback, { rowBytes, atOnce });
  }

  /** Adds what the texts of `batch` need of a step that was computed, before another is submitted. */
  collect(batch: readonly StepRow[]): void {
    const needed = neededRows(batch);
    for (let at = 0; at < needed.length; at += this.#atOnce) {
      this.#read(needed.slice(at, at + this.#atOnce));
    }
  }

  /** Frees what it reads with. */
  dispose(): void {
    this.#readback.dispose();
  }

  #readBack(rows: readonly number[]): Float32Array {
    const pass = new StepPass(this.#gpu);
    this.#readback.gather(pass, this.#transformer.residual, rows, this.#rowBytes);
    pass.submit();
    return new Float32Array(this.#readback.read());
  }

  #read(needed: readonly Needed[]): void {
    const { config, outputGains, native } = this.#transformer;
    const rows = needed.map(({ row }) => row);
    const states = native ? native.hiddenStates(rows) : this.#readBack(rows);
    const normed = new Float64Array(config.width);
    needed.forEach(({ position, pooled }, place) => {
      const start = place * this.#rowBytes / 4;
      let squares = 0;
      for (let i = 0; i < normed.length; i++) squares += states[start + i] ** 2;
      const scale = 1 / Math.sqrt(squares / normed.length + config.normEpsilon);
      for (let i = 0; i < normed.length; i++) {
        normed[i] = states[start + i] * scale * outputGains[i];
      }
      pooled.add(position, normed);
    });
  }
}

function neededRows(batch: readonly StepRow[]): Needed[] {
  const needed: Needed[] = [];
  // packStep lays rows of prompts first, in the order of the batch.
  let first = 0;
  for (const { tokens, position, pooled } of batch) {
    const { from, to } = pooled?.needed(position, position + tokens.length) ?? { from: 0, to: 0 };
    for (let at = from; at < to; at++) {
      needed.push({ row: first + at - position, position: at, pooled: pooled! });
    }
    first += tokens.length;
  }
  return needed;
}
