import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import {
  cacheBindings,
  decodeGroup,
  decodeSpans,
  headConstants,
  outputConstants,
  splitConstants,
  windowConstants,
  windowed,
  windowFragments,
} from "./attention_parts.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments, type ShaderPath } from "./shader_files.ts";
import { createSharedAttention } from "./shared_attention.ts";

/**
 * Records attention of the step's last `decodes` rows, one token of one sequence each; of those that share pages, in `shared[kind]` blocks
 * of each kind, first to the shared pages. A row's result is the same to the bit either way.
 */
export type RecordDecode = (pass: StepPass, decodes: number, shared?: readonly number[]) => void;

/** What makes decode attention a part of attention over more keys than the pages hold. */
export interface WindowBindings {
  /** `StepRow` per token of the step, of which position and page table are those of the window. */
  rows: GPUBuffer;
  /** Receives the binary logarithm of the mass of each (decoding row, head). */
  logMass: GPUBuffer;
}

/**
 * Decode attention over all pages of each row, or with `window` over those that its own rows name, of which none are shared. With
 * `sliding` a row sees so many of its latest tokens, by itself.
 */
export async function createDecodeAttention(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  window?: WindowBindings,
  sliding?: number,
): Promise<RecordDecode> {
  const create = (resumed: boolean) =>
    gpu.kernels === "lanes"
      ? createLanes(gpu, shape, buffers, window, resumed, sliding)
      : createWide(gpu, shape, contextPages, buffers, window, resumed, sliding);
  if (window || sliding) return await create(false);
  const [alone, rest, shared] = await Promise.all([
    create(false),
    create(true),
    createSharedAttention(gpu, shape, contextPages, buffers),
  ]);
  return (pass, decodes, blocks = []) => {
    if (!blocks.some((count) => count > 0)) return alone(pass, decodes);
    shared(pass, blocks);
    rest(pass, decodes);
  };
}

async function createLanes(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: AttentionBuffers,
  window: WindowBindings | undefined,
  resumed: boolean,
  sliding: number | undefined,
): Promise<RecordDecode> {
  const rows = decodeGroup(shape);
  const start: ShaderPath[] = resumed
    ? ["attention/pages_done", "attention/from_carried"]
    : ["attention/none_done", "attention/from_start"];
  const shader = assembleShader(
    `attention_decode ${rows}`,
    shaderFragments(
      lanes(gpu),
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      "attention/attention_decode",
      ...start,
      massFragment(window),
      "attention/to_output",
      ...windowFragments(sliding),
      "attention/attention",
    ),
    {
      ROWS: rows,
      ROW_LOADS: Math.ceil(rows / 8),
      CHUNKS: shape.paddedHeadDim / 64,
      ...windowed(sliding),
    },
  );
  const pipeline = await gpu.pipelines.get(shader, "attention", {
    ...headConstants(shape),
    ...outputConstants(shape),
    ...windowConstants(sliding),
  });
  const { step, scratch, output } = buffers;
  const call = bindKernel(gpu, pipeline, {
    ...cacheBindings(buffers),
    ...rowBindings(buffers, window),
    output,
    ...(resumed ? { carried: scratch.carried, pages_done: step.pagesDone } : {}),
  });
  return (pass, decodes) => pass.dispatch(call, [decodes, shape.heads / rows]);
}

async function createWide(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  window: WindowBindings | undefined,
  resumed: boolean,
  sliding: number | undefined,
): Promise<RecordDecode> {
  const { step, output, scratch: { partial, state } } = buffers;
  const group = decodeGroup(shape);
  const chunks = { CHUNKS: shape.paddedHeadDim / 64, ...windowed(sliding) };
  const { spanPages, spans } = decodeSpans(contextPages);
  const spanConstants = { SPAN_PAGES: spanPages, SPANS: spans, ...windowConstants(sliding) };
  const { rows, ...mass } = rowBindings(buffers, window);
  const splitShader = assembleShader(
    "attention_split",
    shaderFragments(
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      "attention/attention_decode",
      resumed ? "attention/pages_done" : "attention/none_done",
      ...windowFragments(sliding),
      "attention/attention_split",
    ),
    { ...chunks, ...splitConstants(group) },
  );
  const mergeShader = assembleShader(
    "attention_merge",
    shaderFragments(
      "lib/step",
      massFragment(window),
      ...windowFragments(sliding),
      "attention/attention_merge",
    ),
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
  const split = bindKernel(gpu, splitPipeline, {
    ...cacheBindings(buffers),
    ...parts,
    ...(resumed ? { pages_done: step.pagesDone } : {}),
  });
  const merge = bindKernel(gpu, mergePipeline, { step: step.step, output, ...parts, ...mass });
  // A window begins inside a span.
  const dispatched = Math.min(spans, Math.ceil((sliding ?? Infinity) / (spanPages * 64)) + 1);
  return (pass, decodes) => {
    pass.dispatch(split, [decodes, shape.heads / group, dispatched]);
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
