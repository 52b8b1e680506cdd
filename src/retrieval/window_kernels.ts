import type { Gpu } from "../gpu/gpu.ts";
import type { KernelCall } from "../gpu/kernel_call.ts";
import { createDecodeAttention, type RecordDecode } from "../kernels/decode_attention.ts";
import { createMergeRetrieved } from "../kernels/merge_retrieved.ts";
import { STEP_ROW_BYTES } from "../kernels/step_buffers.ts";
import type { Transformer } from "../model/transformer.ts";

/** Attention to the window, and the merge of the rest. Layers share all but their caches. */
export interface WindowKernels {
  /** `StepRow` per token of the step, as the window counts positions and pages; only those of decoding rows are read. */
  rows: GPUBuffer;
  /** `[row][head][padded head dimension]` of the rows that retrieve. */
  retrieved: GPUBuffer;
  /** `[row][head]`, binary logarithms. */
  retrievedMass: GPUBuffer;
  /** Of each of the layers asked for. */
  decode: RecordDecode[];
  merge: KernelCall;
}

/** Compiles the kernels of `layers` and allocates what they share. */
export async function createWindowKernels(
  gpu: Gpu,
  transformer: Transformer,
  layers: readonly number[],
): Promise<WindowKernels> {
  const { shape, buffers, attentionBuffers, contextPages } = transformer;
  const { heads, paddedHeadDim } = shape;
  const storage = (label: string, bytes: number) => gpu.buffers.storage(label, bytes);
  const rows = storage("window rows", buffers.maxRows * STEP_ROW_BYTES);
  const logMass = storage("window log-masses", buffers.maxSamples * heads * 4);
  const retrieved = storage("retrieved", buffers.maxSamples * heads * paddedHeadDim * 4);
  const retrievedMass = storage("retrieved log-masses", buffers.maxSamples * heads * 4);
  const window = { rows, logMass };
  const [decode, merge] = await Promise.all([
    Promise.all(
      layers.map((layer) =>
        createDecodeAttention(gpu, shape, contextPages, attentionBuffers[layer], window)
      ),
    ),
    createMergeRetrieved(gpu, shape, {
      step: buffers.step,
      retrieved,
      retrievedMass,
      logMass,
      output: attentionBuffers[0].output,
    }),
  ]);
  return { rows, retrieved, retrievedMass, decode, merge };
}
