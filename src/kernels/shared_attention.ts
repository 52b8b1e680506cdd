import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import {
  cacheBindings,
  decodeGroup,
  decodeSpans,
  headConstants,
  splitConstants,
  windowed,
} from "./attention_parts.ts";
import { lanes } from "./lanes.ts";
import { shaderFragments } from "./shader_files.ts";
import { sharedTiles } from "./shared_tiles.ts";

/** Records attention of decoding rows to the pages that they share, `blocks[kind]` blocks of each kind. */
export type RecordShared = (pass: StepPass, blocks: readonly number[]) => void;

/** Attention to the pages that the rows of a block share, each loaded once for all of them. */
export async function createSharedAttention(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
): Promise<RecordShared> {
  const group = decodeGroup(shape);
  const tiles = sharedTiles(gpu, shape, contextPages);
  const calls = await Promise.all(
    tiles.rows.map((rows, kind) =>
      gpu.kernels === "lanes"
        ? createLanes(gpu, shape, buffers, rows, kind)
        : createWide(gpu, shape, contextPages, buffers, rows, kind)
    ),
  );
  const spans = gpu.kernels === "lanes" ? 1 : decodeSpans(contextPages).spans;
  return (pass, blocks) =>
    calls.forEach((call, kind) =>
      pass.dispatch(call, [blocks[kind] ?? 0, shape.heads / group, spans])
    );
}

async function createLanes(
  gpu: Gpu,
  shape: AttentionShape,
  buffers: AttentionBuffers,
  rows: number,
  kind: number,
): Promise<KernelCall> {
  const group = decodeGroup(shape);
  const queries = rows * group;
  const shader = assembleShader(
    `attention_shared ${rows}`,
    shaderFragments(
      lanes(gpu),
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      "attention/attention_shared",
      "attention/none_done",
      "attention/from_start",
      "attention/to_carried",
      "attention/attention",
    ),
    {
      ROWS: queries,
      ROW_LOADS: Math.ceil(queries / 8),
      GROUP: group,
      CHUNKS: shape.paddedHeadDim / 64,
      ...windowed(undefined),
    },
  );
  const pipeline = await gpu.pipelines.get(shader, "attention", headConstants(shape));
  return bindKernel(gpu, pipeline, {
    ...cacheBindings(buffers),
    blocks: buffers.step.sharedBlocks[kind],
    carried: buffers.scratch.carried,
  });
}

async function createWide(
  gpu: Gpu,
  shape: AttentionShape,
  contextPages: number,
  buffers: AttentionBuffers,
  rows: number,
  kind: number,
): Promise<KernelCall> {
  const { partial, state } = buffers.scratch;
  const group = decodeGroup(shape);
  const { spanPages, spans } = decodeSpans(contextPages);
  const shader = assembleShader(
    `attention_split_shared ${rows}`,
    shaderFragments(
      "lib/step",
      `attention/kv_load_${shape.kvType}`,
      "attention/attention_shared",
      "attention/none_done",
      "attention/attention_split",
    ),
    {
      ...splitConstants(rows * group),
      GROUP: group,
      CHUNKS: shape.paddedHeadDim / 64,
      ...windowed(undefined),
    },
  );
  const pipeline = await gpu.pipelines.get(shader, "attention_split", {
    ...headConstants(shape),
    SPAN_PAGES: spanPages,
    SPANS: spans,
  });
  return bindKernel(gpu, pipeline, {
    ...cacheBindings(buffers),
    blocks: buffers.step.sharedBlocks[kind],
    partial,
    partial_state: state,
  });
}
