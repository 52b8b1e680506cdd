import type { KvContext, KvContextShape } from "../../ffi/kv_context.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { ClockKeeper } from "../kernels/clock_keeper.ts";
import { EMPTY_LOG_MASS } from "../kernels/merge_retrieved.ts";
import type { DenseAttention } from "../model/step_attention.ts";
import type { StepShape, Transformer } from "../model/transformer.ts";
import { BusyGpu } from "./busy_gpu.ts";
import { PageTransit } from "./page_transit.ts";
import type { PlannedStep, SampledRows } from "./planned_step.ts";
import type { RetrievalOptions } from "./retrieval_options.ts";
import type { RetrievingLayer, Search, StepSide } from "./step_side.ts";
import { createWindowKernels, type WindowKernels } from "./window_kernels.ts";

/** Retrieval beside layers on the GPU: it attends to the window while the CPU searches and attends to the rest; parts are merged there. */
export class GpuSide implements StepSide {
  readonly #gpu: Gpu;
  readonly #transformer: Transformer;
  readonly #contextShape: KvContextShape;
  readonly #search: Search;
  readonly #transit: PageTransit;
  readonly #queries: Readback;
  readonly #kernels: WindowKernels;
  readonly #overlapped: boolean;
  readonly #busy: BusyGpu | undefined;

  private constructor(
    gpu: Gpu,
    transformer: Transformer,
    shape: KvContextShape,
    search: Search,
    parts: {
      transit: PageTransit;
      queries: Readback;
      kernels: WindowKernels;
      overlapped: boolean;
      busy: BusyGpu | undefined;
    },
  ) {
    this.#gpu = gpu;
    this.#transformer = transformer;
    this.#contextShape = shape;
    this.#search = search;
    this.#transit = parts.transit;
    this.#queries = parts.queries;
    this.#kernels = parts.kernels;
    this.#overlapped = parts.overlapped;
    this.#busy = parts.busy;
  }

  /**
   * Compiles kernels and allocates buffers.
   * @param layers those that retrieve, of the model
   * @param sampleRows rows of a step whose queries can be taken
   */
  static async open(
    gpu: Gpu,
    transformer: Transformer,
    shape: KvContextShape,
    search: Search,
    layers: readonly number[],
    sampleRows: number,
    options: RetrievalOptions,
  ): Promise<GpuSide> {
    const rowBytes = shape.heads * shape.stride * 4;
    const held = {
      keys: layers.map((layer) => transformer.attentionBuffers[layer].keys),
      values: layers.map((layer) => transformer.attentionBuffers[layer].values),
    };
    const sampleBytes = layers.length * sampleRows * rowBytes;
    const transit = await PageTransit.open(gpu, held, transformer.shape, sampleBytes);
    // A layer's queries are recorded before those of the one before are read.
    const queries = await Readback.open(gpu, transformer.buffers.maxSamples * rowBytes, 2);
    const kernels = await createWindowKernels(gpu, transformer, layers);
    // A software GPU shares its cores with the search: there a submit of its own only costs (sparrow-tiny, 4K tokens: 0.95 of dense
    // decoding's time with, 0.89 without).
    const overlapped = options.overlap ?? gpu.adapterClass !== "software";
    const keepClock = overlapped && (options.keepClock ?? gpu.adapterClass === "discrete");
    const busy = keepClock ? new BusyGpu(await ClockKeeper.open(gpu)) : undefined;
    const parts = { transit, queries, kernels, overlapped, busy };
    return new GpuSide(gpu, transformer, shape, search, parts);
  }

  get windowRows(): GPUBuffer {
    return this.#kernels.rows;
  }

  begin(number: number): void {
    this.#queries.forget();
    this.#busy?.begin(number, performance.now());
  }

  sample(
    pass: StepPass,
    { layer, place }: RetrievingLayer,
    samples: readonly SampledRows[],
  ): void {
    const { shape, attentionBuffers } = this.#transformer;
    const rowBytes = shape.heads * shape.paddedHeadDim * 4;
    const total = samples.reduce((sum, { rows }) => sum + rows.length, 0);
    let to = place * total * rowBytes;
    for (const { rows } of samples) {
      for (const row of rows) {
        const from = attentionBuffers[layer].query;
        pass.copy(from, row * rowBytes, this.#transit.buffer, to, rowBytes);
        to += rowBytes;
      }
    }
  }

  takeSamples(samples: readonly SampledRows[]): void {
    const total = samples.reduce((sum, { rows }) => sum + rows.length, 0);
    if (total === 0) return;
    const { layers, heads, stride } = this.#contextShape;
    const rowLength = heads * stride;
    const queries = new Float32Array(this.#transit.read(layers * total * rowLength * 4));
    for (let layer = 0; layer < layers; layer++) {
      let at = layer * total;
      for (const { session, rows } of samples) {
        const part = queries.subarray(at * rowLength, (at + rows.length) * rowLength);
        session.context.sample(layer, part);
        at += rows.length;
      }
    }
  }

  attend(
    pass: StepPass,
    { layer, place }: RetrievingLayer,
    step: StepShape,
    dense: DenseAttention,
    planned: PlannedStep,
  ): StepPass {
    const { heads, paddedHeadDim } = this.#transformer.shape;
    const { query } = this.#transformer.attentionBuffers[layer];
    const count = planned.retrieving.length;
    const rowBytes = heads * paddedHeadDim * 4;
    const meanwhile = this.#overlapped ? new StepPass(this.#gpu) : undefined;
    // Prompts read beside keep the GPU busy enough. One workgroup does not hold up those that come after it.
    if (meanwhile && step.prefillRows === 0) this.#busy?.record(meanwhile, place, planned.keysHeld);
    dense.record(meanwhile ?? pass, { ...step, decodes: 0 });
    this.#kernels.decode[place](meanwhile ?? pass, step.decodes);
    this.#queries.record(pass, query, (step.rows - count) * rowBytes, count * rowBytes);
    // Encoded while the GPU is at work on the layer before, whose queries are waited for only now: 0.15 ms a layer on a server's processor.
    meanwhile?.finish();
    pass.finish();
    this.complete(planned);
    pass.submit();
    planned.asked = { place, meanwhile };
    const next = new StepPass(this.#gpu);
    next.dispatch(this.#kernels.merge, [count, heads]);
    return next;
  }

  complete(planned: PlannedStep): void {
    if (!planned.asked) return;
    const { keysHeld, asked: { place, meanwhile } } = planned;
    planned.asked = undefined;
    const queries = new Float32Array(this.#queries.read());
    this.#busy?.measure(place);
    meanwhile?.submit();
    const start = performance.now();
    const { output, lse } = this.#search(planned, place, queries);
    const searched = performance.now();
    // One with bounds takes longer than those to come.
    if (!planned.bound) this.#busy?.note(place, keysHeld, searched - start, searched);
    const masses = lse.map((lse) => lse === -Infinity ? EMPTY_LOG_MASS : lse * Math.LOG2E);
    this.#gpu.buffers.write(this.#kernels.retrieved, 0, output);
    this.#gpu.buffers.write(this.#kernels.retrievedMass, 0, masses);
  }

  move(pages: readonly number[], context: KvContext): void {
    this.#transit.move(pages, context);
  }

  /** Frees the buffers. */
  [Symbol.dispose](): void {
    this.#queries.dispose();
    this.#busy?.[Symbol.dispose]();
    this.#transit[Symbol.dispose]();
  }
}
