import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionBuffers, AttentionWork } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import {
  cacheBindings,
  headConstants,
  outputConstants,
  PREFILL_SPAN_PAGES,
  windowConstants,
  windowed,
  windowFragments,
} from "./attention_parts.ts";
import { shaderFragments } from "./shader_files.ts";

/**
 * Workgroups from which on a step's prefill rows keep a large GPU busy without being split into spans. (An H200 has room for 792 of this kernel.)
 */
const ENOUGH_GROUPS = 512;

/** Records attention of a step's prefill rows. */
export type RecordPrefill = (pass: StepPass, work: AttentionWork) => void;

/**
 * Prefill attention of the wide family. Steps of few rows, as a short question behind a long text is, are split into spans of the context (split-KV),
 * where the partial results fit `buffers.scratch`; a row's result is the same to the bit either way. With `sliding` a row sees so many of its latest
 * tokens: few spans, which are never split.
 */
export async function createTiledAttention(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: AttentionBuffers,
  sliding?: number,
): Promise<RecordPrefill> {
  const { step, output, scratch: { partial, state } } = buffers;
  const chunks = shape.paddedHeadDim / 64;
  const constants = { SPAN_PAGES: PREFILL_SPAN_PAGES };
  const tiled = async (blocks: GPUBuffer, split: boolean): Promise<KernelCall> => {
    const shader = assembleShader(
      split ? "attention_tiled split" : "attention_tiled",
      shaderFragments(
        "lib/step",
        `attention/kv_load_${shape.kvType}`,
        ...windowFragments(sliding),
        "attention/attention_tiled",
      ),
      { CHUNKS: chunks, SPLIT: split ? 1 : 0, ...windowed(sliding) },
    );
    const pipeline = await gpu.pipelines.get(shader, "attention_tiled", {
      ...headConstants(shape),
      ...constants,
      ...windowConstants(sliding),
      ...split ? {} : outputConstants(shape),
    });
    const results: Record<string, GPUBuffer> = split
      ? { partial, partial_state: state }
      : { output };
    return bindKernel(gpu, pipeline, { ...cacheBindings(buffers), ...results, blocks });
  };
  const createMerge = async (): Promise<KernelCall> => {
    const shader = assembleShader(
      "attention_tiled_merge",
      shaderFragments("lib/step", "attention/attention_tiled_merge"),
      { CHUNKS: chunks },
    );
    const pipeline = await gpu.pipelines.get(shader, "attention_tiled_merge", {
      HEADS: shape.heads,
      ...constants,
      ...outputConstants(shape),
    });
    const parts = { partial, partial_state: state, rows: step.rows };
    return bindKernel(gpu, pipeline, { step: step.step, output, ...parts });
  };
  if (sliding !== undefined) {
    const [large, small] = await Promise.all([
      tiled(step.largeBlocks, false),
      tiled(step.smallBlocks, false),
    ]);
    return (pass, { largeBlocks, smallBlocks }) => {
      pass.dispatch(large, [largeBlocks, shape.heads]);
      pass.dispatch(small, [smallBlocks, shape.heads]);
    };
  }
  const [large, small, splitLarge, splitSmall, merge] = await Promise.all([
    tiled(step.largeBlocks, false),
    tiled(step.smallBlocks, false),
    tiled(step.largeBlocks, true),
    tiled(step.smallBlocks, true),
    createMerge(),
  ]);
  const fitting = Math.floor(partial.size / (shape.heads * shape.paddedHeadDim * 4));
  return (pass, { largeBlocks, smallBlocks, prefillRows, prefillEnd }) => {
    const { heads } = shape;
    const spans = Math.ceil(prefillEnd / (PREFILL_SPAN_PAGES * 64));
    const few = (largeBlocks + smallBlocks) * heads < ENOUGH_GROUPS;
    if (spans > 1 && few && prefillRows * spans <= fitting) {
      pass.dispatch(splitLarge, [largeBlocks, heads, spans]);
      pass.dispatch(splitSmall, [smallBlocks, heads, spans]);
      pass.dispatch(merge, [prefillRows, heads]);
    } else {
      pass.dispatch(large, [largeBlocks, heads]);
      pass.dispatch(small, [smallBlocks, heads]);
    }
  };
}
