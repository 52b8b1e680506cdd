import { ceilDiv } from "../common/math.ts";
import { MAX_LOGPROBS } from "../common/max_logprobs.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel, type KernelCall } from "../gpu/kernel_call.ts";
import { assembleShader } from "../gpu/shader.ts";
import { sampleGroupSize } from "./sample_group_size.ts";
import { shaderFragments } from "./shader_files.ts";

/** Bytes of a `Scored` in shaders/sampling/score.wgsl. */
export const SCORED_BYTES = 16;
/** Bytes of a place in `scores`: the wanted token and the likeliest ones, each a token (u32) and its log probability (f32). */
export const SCORE_BYTES = (1 + MAX_LOGPROBS) * 8;

/** Buffers of scoring. */
export interface ScoreBuffers {
  /** The token of each sampled row. */
  sampled: GPUBuffer;
  /** `Scored` per scored row. */
  scored: GPUBuffer;
  /** Results, `SCORE_BYTES` a place. */
  scores: GPUBuffer;
}

/**
 * Compiles log probabilities of tokens; returns what binds them to a buffer of logits. Dispatch with one workgroup per scored row. Cost: one
 * pass over the logits, and two walks of the square root of the vocabulary for each of the likeliest tokens asked for.
 */
export async function createScore(
  gpu: Gpu,
  { vocabulary, logitsPerRow, buffers, group = sampleGroupSize(gpu) }: {
    vocabulary: number;
    logitsPerRow: number;
    buffers: ScoreBuffers;
    /** Lanes of a row, a power of two. Default: what suits the adapter. */
    group?: number;
  },
): Promise<(logits: GPUBuffer) => KernelCall> {
  const shader = assembleShader("score", shaderFragments("sampling/score"));
  const chunk = Math.ceil(Math.sqrt(vocabulary));
  const pipeline = await gpu.pipelines.get(shader, "score", {
    VOCABULARY: vocabulary,
    LOGITS_PER_ROW: logitsPerRow,
    GROUP: group,
    CHUNK: chunk,
    SPANS: ceilDiv(vocabulary, group * chunk),
    TOP: MAX_LOGPROBS,
  });
  const { sampled, scored, scores } = buffers;
  return (logits) => bindKernel(gpu, pipeline, { logits, sampled, scored, scores });
}
