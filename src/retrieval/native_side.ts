import type { KvContext, KvContextShape } from "../../ffi/kv_context.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { AttentionShape } from "../kernels/attention_shape.ts";
import type { NativeLayers } from "../model/native_layers.ts";
import type { DenseAttention } from "../model/step_attention.ts";
import type { StepShape } from "../model/transformer.ts";
import type { PlannedStep, SampledRows } from "./planned_step.ts";
import type { RetrievingLayer, Search, StepSide } from "./step_side.ts";

/** Retrieval beside layers that the native library computes: one after the other, since both take all of the processor. */
export class NativeSide implements StepSide {
  readonly windowRows = undefined;
  readonly #native: NativeLayers;
  readonly #shape: AttentionShape;
  readonly #contextShape: KvContextShape;
  readonly #search: Search;
  readonly #layers: readonly number[];

  /** @param layers those that retrieve, of the model */
  constructor(
    native: NativeLayers,
    shape: AttentionShape,
    contextShape: KvContextShape,
    search: Search,
    layers: readonly number[],
  ) {
    this.#native = native;
    this.#shape = shape;
    this.#contextShape = contextShape;
    this.#search = search;
    this.#layers = layers;
  }

  begin(): void {}

  sample(
    _pass: StepPass,
    { place }: RetrievingLayer,
    samples: readonly SampledRows[],
    step: StepShape,
  ): void {
    const { heads, stride } = this.#contextShape;
    const length = heads * stride;
    const queries = this.#native.queries(step);
    for (const { session, rows } of samples) {
      const part = new Float32Array(rows.length * length);
      rows.forEach((row, i) =>
        part.set(queries.subarray(row * length, (row + 1) * length), i * length)
      );
      session.context.sample(place, part);
    }
  }

  takeSamples(): void {}

  attend(
    pass: StepPass,
    { place }: RetrievingLayer,
    step: StepShape,
    dense: DenseAttention,
    planned: PlannedStep,
  ): StepPass {
    // Rows that retrieve have the pages of their windows.
    dense.record(pass, step);
    const count = planned.retrieving.length;
    const { heads, headDim, outputRowQuads } = this.#shape;
    const { stride } = this.#contextShape;
    const queries = this.#native.queries(step);
    const own = queries.slice((step.rows - count) * heads * stride);
    const { output, lse } = this.#search(planned, place, own);
    const attended = this.#native.attended(step);
    const masses = this.#native.logMasses(step);
    for (let i = 0; i < count * heads; i++) {
      const [row, head] = [Math.floor(i / heads), i % heads];
      const a = masses[(step.decodes - count) * heads + i];
      const b = lse[i] * Math.LOG2E;
      const top = Math.max(a, b);
      const [windowShare, share] = [2 ** (a - top), 2 ** (b - top)];
      const to = (step.rows - count + row) * outputRowQuads * 4 + head * headDim;
      for (let j = 0; j < headDim; j++) {
        attended[to + j] = (windowShare * attended[to + j] + share * output[i * stride + j]) /
          (windowShare + share);
      }
    }
    return pass;
  }

  complete(): void {}

  move(pages: readonly number[], context: KvContext): void {
    this.#layers.forEach((layer, place) => {
      const { keys, values } = this.#native.cache.held.read(layer, pages);
      context.append(place, keys, values);
    });
  }

  [Symbol.dispose](): void {}
}
