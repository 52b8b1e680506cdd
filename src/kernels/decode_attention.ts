import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";

/** Records attention of the step's last `decodes` rows, one token of one sequence each. */
export type RecordDecode = (pass: StepPass, decodes: number) => void;

/** What makes decode attention a part of attention over more keys than the pages hold. */
export interface WindowBindings {
  /** `StepRow` per token of the step, of which position and page table are those of the window. */
  rows: GPUBuffer;
  /** Receives the binary logarithm of the mass of each (decoding row, head). */
  logMass: GPUBuffer;
}

/**
 * Query heads that one decode workgroup serves: those of a KV head, split while there are more than 8, or 4 of dimension 256, whose
 * scores and queries would not fit the 16 KiB of workgroup memory that WebGPU guarantees.
 */
export function decodeGroup({ heads, kvHeads, paddedHeadDim }: AttentionShape): number {
  const ratio = heads / kvHeads;
  for (let group = Math.min(ratio, paddedHeadDim > 128 ? 4 : 8); group > 1; group--) {
    if (ratio % group === 0) return group;
  }
  return 1;
}

/** Pages that one workgroup of decode attention takes in the wide family, and how many spans a context then has. */
export function decodeSpans(contextPages: number): { spanPages: number; spans: number } {
  // 512 tokens keep a workgroup busy for long enough; 64 spans of one (sequence, KV head) fill a large GPU.
  const spanPages = Math.max(8, Math.ceil(contextPages / 64));
  return { spanPages, spans: Math.ceil(contextPages / spanPages) };
}

/** Decode attention over all pages of each row, or with `window` over those that its own rows name. */
export function createDecodeAttention(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  window?: WindowBindings,
): Promise<RecordDecode> {
  return gpu.kernels === "lanes"
    ? createLanes(gpu, shape, buffers, window)
    : createWide(gpu, shape, contextPages, buffers, window);
}

async function createLanes(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: AttentionBuffers,
  window: WindowBindings | undefined,
): Promise<RecordDecode> {
  const rows = decodeGroup(shape);
  const shader = assembleShader(
    `attention_decode ${rows}`,
    shaderFragments(
      lanes(gpu),
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      "attention/attention_decode",
      massFragment(window),
      "attention/attention",
    ),
    { ROWS: rows, ROW_LOADS: Math.ceil(rows / 8), CHUNKS: shape.paddedHeadDim / 64 },
  );
  const pipeline = await gpu.pipelines.get(shader, "attention", {
    ...headConstants(shape),
    ...outputConstants(shape),
  });
  const call = bindKernel(gpu, pipeline, {
    ...cacheBindings(buffers),
    ...rowBindings(buffers, window),
    output: buffers.output,
  });
  return (pass, decodes) => pass.dispatch(call, [decodes, shape.heads / rows]);
}

async function createWide(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  window: WindowBindings | undefined,
): Promise<RecordDecode> {
  const { step: { step }, output, scratch: { partial, state } } = buffers;
  const group = decodeGroup(shape);
  const chunks = { CHUNKS: shape.paddedHeadDim / 64 };
  const { spanPages, spans } = decodeSpans(contextPages);
  const spanConstants = { SPAN_PAGES: spanPages, SPANS: spans };
  const { rows, ...mass } = rowBindings(buffers, window);
  const splitShader = assembleShader(
    "attention_split",
    shaderFragments("lib/step", `attention/kv_load_${shape.kvType}`, "attention/attention_split"),
    { ...chunks, ROWS: group },
  );
  const mergeShader = assembleShader(
    "attention_merge",
    shaderFragments("lib/step", massFragment(window), "attention/attention_merge"),
    chunks,
  );
  const [splitPipeline, mergePipeline] = await Promise.all([
    gpu.pipelines.get(splitShader, "attention_split", {
      ...headConstants(shape),
      ...spanConstants,
    }),
    gpu.pipelines.get(mergeShader, "attention_merge", {
      HEADS: shape.heads,
      ...spanConstants,
      ...outputConstants(shape),
    }),
  ]);
  const parts = { rows, partial, partial_state: state };
  const split = bindKernel(gpu, splitPipeline, { ...cacheBindings(buffers), ...parts });
  const merge = bindKernel(gpu, mergePipeline, { step, output, ...parts, ...mass });
  return (pass, decodes) => {
    pass.dispatch(split, [decodes, shape.heads / group, spans]);
    pass.dispatch(merge, [decodes, shape.heads]);
  };
}

function massFragment(window: WindowBindings | undefined) {
  return window ? "attention/mass_kept" : "attention/mass_dropped";
}

function rowBindings(
  { step }: AttentionBuffers,
  window: WindowBindings | undefined,
): { rows: GPUBuffer; log_mass?: GPUBuffer } {
  return window ? { rows: window.rows, log_mass: window.logMass } : { rows: step.rows };
}

/** Constants of kernels that map query heads to key/value heads. */
export function headConstants({ heads, kvHeads }: AttentionShape): Record<string, number> {
  return { HEADS: heads, KV_HEADS: kvHeads, QUERIES_PER_KV: heads / kvHeads };
}

/** Constants of kernels that write attention's output. */
export function outputConstants(
  { headDim, outputRowQuads }: AttentionShape,
): Record<string, number> {
  return { OUTPUT_QUADS: headDim / 4, OUTPUT_ROW_QUADS: outputRowQuads };
}

/** Bindings that all kernels over the cache share. */
export function cacheBindings(
  { step, query, keys, values }: AttentionBuffers,
): Record<string, GPUBuffer> {
  return { step: step.step, query, key_cache: keys, value_cache: values, pages: step.pages };
}
