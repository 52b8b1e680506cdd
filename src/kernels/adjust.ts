import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import { sampleGroupSize } from "./sample_group_size.ts";
import { shaderFragments } from "./shader_files.ts";

/** Bytes of an `Adjusted` in shaders/sampling/adjust.wgsl. */
export const ADJUSTED_BYTES = 28;

/** Buffers of logit adjustment. */
export interface AdjustBuffers {
  logits: GPUBuffer;
  /** `Adjusted` per row. */
  adjusted: GPUBuffer;
  /** One word per slot and token: how often it was generated, and a bias in f16 above. */
  adjustments: GPUBuffer;
  /** `maskWords` words per masked row: a bit for each token that may be chosen. */
  masks: GPUBuffer;
  lastSampled: GPUBuffer;
}

/** Words of one row's mask. */
export function maskWords(vocabulary: number): number {
  return Math.ceil(vocabulary / 32);
}

/** Logits that a thread of a GPU changes one after the other. */
const ADJUSTED_LOGITS = 8;

/** Records biases, penalties and masks of the first `rows` rows of `adjusted`; it belongs before sampling. */
export type RecordAdjust = (pass: StepPass, rows: number) => void;

/** Compiles biases, penalties and masks of tokens. Cost: one pass over the logits. */
export async function createAdjust(
  gpu: Gpu,
  { vocabulary, logitsPerRow, buffers, groups }: {
    vocabulary: number;
    logitsPerRow: number;
    buffers: AdjustBuffers;
    /** Workgroups of a row. Default: one on a CPU adapter, as many as keep a thread short on a GPU. */
    groups?: number;
  },
): Promise<RecordAdjust> {
  const shader = assembleShader("adjust", shaderFragments("sampling/adjust"));
  const pipeline = await gpu.pipelines.get(shader, "adjust", {
    VOCABULARY: vocabulary,
    LOGITS_PER_ROW: logitsPerRow,
    GROUP: sampleGroupSize(gpu),
  });
  const { logits, adjusted, adjustments, masks, lastSampled } = buffers;
  const call = bindKernel(gpu, pipeline, {
    logits,
    adjusted,
    adjustments,
    masks,
    last_sampled: lastSampled,
  });
  const across = groups ??
    (gpu.adapterClass === "software"
      ? 1
      : ceilDiv(vocabulary, sampleGroupSize(gpu) * ADJUSTED_LOGITS));
  return (pass, rows) => pass.dispatch(call, [rows, across]);
}
