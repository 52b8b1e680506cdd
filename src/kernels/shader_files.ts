/**
 * The `.wgsl` files as fragments, by path under `shaders/`. Text imports are static, so that the module works from a registry
 * and under `deno compile` as from a checkout.
 * @module
 */
import type { ShaderFragment } from "../gpu/shader.ts";
import attention from "../../shaders/attention/attention.wgsl" with { type: "text" };
import attentionDecode from "../../shaders/attention/attention_decode.wgsl" with { type: "text" };
import attentionMerge from "../../shaders/attention/attention_merge.wgsl" with { type: "text" };
import attentionPrefill from "../../shaders/attention/attention_prefill.wgsl" with { type: "text" };
import attentionShared from "../../shaders/attention/attention_shared.wgsl" with { type: "text" };
import attentionSplit from "../../shaders/attention/attention_split.wgsl" with { type: "text" };
import attentionTiled from "../../shaders/attention/attention_tiled.wgsl" with { type: "text" };
import attentionTiledMerge from "../../shaders/attention/attention_tiled_merge.wgsl" with {
  type: "text",
};
import fromCarried from "../../shaders/attention/from_carried.wgsl" with { type: "text" };
import fromStart from "../../shaders/attention/from_start.wgsl" with { type: "text" };
import finishQkv from "../../shaders/attention/finish_qkv.wgsl" with { type: "text" };
import headNorm from "../../shaders/attention/head_norm.wgsl" with { type: "text" };
import headSumLanes from "../../shaders/attention/head_sum_lanes.wgsl" with { type: "text" };
import headSumWide from "../../shaders/attention/head_sum_wide.wgsl" with { type: "text" };
import kvLoadF16 from "../../shaders/attention/kv_load_f16.wgsl" with { type: "text" };
import kvLoadF32 from "../../shaders/attention/kv_load_f32.wgsl" with { type: "text" };
import kvStoreF16 from "../../shaders/attention/kv_store_f16.wgsl" with { type: "text" };
import kvStoreF32 from "../../shaders/attention/kv_store_f32.wgsl" with { type: "text" };
import massDropped from "../../shaders/attention/mass_dropped.wgsl" with { type: "text" };
import massKept from "../../shaders/attention/mass_kept.wgsl" with { type: "text" };
import mergeRetrieved from "../../shaders/attention/merge_retrieved.wgsl" with { type: "text" };
import noneDone from "../../shaders/attention/none_done.wgsl" with { type: "text" };
import pagesDone from "../../shaders/attention/pages_done.wgsl" with { type: "text" };
import slidingWindow from "../../shaders/attention/sliding_window.wgsl" with { type: "text" };
import toCarried from "../../shaders/attention/to_carried.wgsl" with { type: "text" };
import toOutput from "../../shaders/attention/to_output.wgsl" with { type: "text" };
import biasAdded from "../../shaders/dense/bias_added.wgsl" with { type: "text" };
import biasNone from "../../shaders/dense/bias_none.wgsl" with { type: "text" };
import embed from "../../shaders/dense/embed.wgsl" with { type: "text" };
import finishGeglu from "../../shaders/dense/finish_geglu.wgsl" with { type: "text" };
import finishRelu2 from "../../shaders/dense/finish_relu2.wgsl" with { type: "text" };
import finishResidual from "../../shaders/dense/finish_residual.wgsl" with { type: "text" };
import finishStore from "../../shaders/dense/finish_store.wgsl" with { type: "text" };
import finishSwiglu from "../../shaders/dense/finish_swiglu.wgsl" with { type: "text" };
import inputNorm from "../../shaders/dense/input_norm.wgsl" with { type: "text" };
import inputNormStored from "../../shaders/dense/input_norm_stored.wgsl" with { type: "text" };
import inputPlain from "../../shaders/dense/input_plain.wgsl" with { type: "text" };
import inputSampled from "../../shaders/dense/input_sampled.wgsl" with { type: "text" };
import inputSampledStored from "../../shaders/dense/input_sampled_stored.wgsl" with {
  type: "text",
};
import linearBytes from "../../shaders/dense/linear_bytes.wgsl" with { type: "text" };
import linearBytesRanges from "../../shaders/dense/linear_bytes_ranges.wgsl" with {
  type: "text",
};
import linearBytesSplit from "../../shaders/dense/linear_bytes_split.wgsl" with { type: "text" };
import linearRanges from "../../shaders/dense/linear_ranges.wgsl" with { type: "text" };
import linearRows from "../../shaders/dense/linear_rows.wgsl" with { type: "text" };
import linearSplit from "../../shaders/dense/linear_split.wgsl" with { type: "text" };
import linearTiled from "../../shaders/dense/linear_tiled.wgsl" with { type: "text" };
import linearVector from "../../shaders/dense/linear_vector.wgsl" with { type: "text" };
import operandBytes from "../../shaders/dense/operand_bytes.wgsl" with { type: "text" };
import postNorm from "../../shaders/dense/post_norm.wgsl" with { type: "text" };
import quantiseBlock from "../../shaders/dense/quantise_block.wgsl" with { type: "text" };
import quantiseNormedRows from "../../shaders/dense/quantise_normed_rows.wgsl" with {
  type: "text",
};
import quantiseRows from "../../shaders/dense/quantise_rows.wgsl" with { type: "text" };
import rms from "../../shaders/dense/rms.wgsl" with { type: "text" };
import rmsWide from "../../shaders/dense/rms_wide.wgsl" with { type: "text" };
import rowScales from "../../shaders/dense/row_scales.wgsl" with { type: "text" };
import rowScalesWide from "../../shaders/dense/row_scales_wide.wgsl" with { type: "text" };
import rowsAll from "../../shaders/dense/rows_all.wgsl" with { type: "text" };
import rowsDecode from "../../shaders/dense/rows_decode.wgsl" with { type: "text" };
import rowsPrefill from "../../shaders/dense/rows_prefill.wgsl" with { type: "text" };
import rowsSampled from "../../shaders/dense/rows_sampled.wgsl" with { type: "text" };
import scaleNone from "../../shaders/dense/scale_none.wgsl" with { type: "text" };
import scaleStored from "../../shaders/dense/scale_stored.wgsl" with { type: "text" };
import unpackQ4 from "../../shaders/dense/unpack_q4.wgsl" with { type: "text" };
import unpackQ8G16 from "../../shaders/dense/unpack_q8g16.wgsl" with { type: "text" };
import unpackQ8Min from "../../shaders/dense/unpack_q8min.wgsl" with { type: "text" };
import weightF16 from "../../shaders/dense/weight_f16.wgsl" with { type: "text" };
import weightF32 from "../../shaders/dense/weight_f32.wgsl" with { type: "text" };
import weightPairs from "../../shaders/dense/weight_pairs.wgsl" with { type: "text" };
import weightQ8 from "../../shaders/dense/weight_q8.wgsl" with { type: "text" };
import lanesSubgroup from "../../shaders/lib/lanes_subgroup.wgsl" with { type: "text" };
import lanesWorkgroup from "../../shaders/lib/lanes_workgroup.wgsl" with { type: "text" };
import sampleStruct from "../../shaders/lib/sample_struct.wgsl" with { type: "text" };
import step from "../../shaders/lib/step.wgsl" with { type: "text" };
import keepBusy from "../../shaders/pace/keep_busy.wgsl" with { type: "text" };
import adjust from "../../shaders/sampling/adjust.wgsl" with { type: "text" };
import sample from "../../shaders/sampling/sample.wgsl" with { type: "text" };
import score from "../../shaders/sampling/score.wgsl" with { type: "text" };

const sources = {
  "attention/attention": attention,
  "attention/attention_decode": attentionDecode,
  "attention/attention_merge": attentionMerge,
  "attention/attention_prefill": attentionPrefill,
  "attention/attention_shared": attentionShared,
  "attention/attention_split": attentionSplit,
  "attention/attention_tiled": attentionTiled,
  "attention/attention_tiled_merge": attentionTiledMerge,
  "attention/finish_qkv": finishQkv,
  "attention/from_carried": fromCarried,
  "attention/from_start": fromStart,
  "attention/head_norm": headNorm,
  "attention/head_sum_lanes": headSumLanes,
  "attention/head_sum_wide": headSumWide,
  "attention/mass_dropped": massDropped,
  "attention/mass_kept": massKept,
  "attention/merge_retrieved": mergeRetrieved,
  "attention/none_done": noneDone,
  "attention/pages_done": pagesDone,
  "attention/sliding_window": slidingWindow,
  "attention/to_carried": toCarried,
  "attention/to_output": toOutput,
  "attention/kv_load_f16": kvLoadF16,
  "attention/kv_load_f32": kvLoadF32,
  "attention/kv_store_f16": kvStoreF16,
  "attention/kv_store_f32": kvStoreF32,
  "dense/bias_added": biasAdded,
  "dense/bias_none": biasNone,
  "dense/embed": embed,
  "dense/finish_geglu": finishGeglu,
  "dense/finish_relu2": finishRelu2,
  "dense/finish_residual": finishResidual,
  "dense/finish_store": finishStore,
  "dense/finish_swiglu": finishSwiglu,
  "dense/input_norm": inputNorm,
  "dense/input_norm_stored": inputNormStored,
  "dense/input_plain": inputPlain,
  "dense/input_sampled": inputSampled,
  "dense/input_sampled_stored": inputSampledStored,
  "dense/linear_bytes": linearBytes,
  "dense/linear_bytes_ranges": linearBytesRanges,
  "dense/linear_bytes_split": linearBytesSplit,
  "dense/linear_ranges": linearRanges,
  "dense/linear_rows": linearRows,
  "dense/linear_split": linearSplit,
  "dense/linear_tiled": linearTiled,
  "dense/linear_vector": linearVector,
  "dense/operand_bytes": operandBytes,
  "dense/post_norm": postNorm,
  "dense/quantise_block": quantiseBlock,
  "dense/quantise_normed_rows": quantiseNormedRows,
  "dense/quantise_rows": quantiseRows,
  "dense/rms": rms,
  "dense/rms_wide": rmsWide,
  "dense/row_scales": rowScales,
  "dense/row_scales_wide": rowScalesWide,
  "dense/rows_all": rowsAll,
  "dense/rows_decode": rowsDecode,
  "dense/rows_prefill": rowsPrefill,
  "dense/rows_sampled": rowsSampled,
  "dense/scale_none": scaleNone,
  "dense/scale_stored": scaleStored,
  "dense/unpack_q4": unpackQ4,
  "dense/unpack_q8g16": unpackQ8G16,
  "dense/unpack_q8min": unpackQ8Min,
  "dense/weight_f16": weightF16,
  "dense/weight_f32": weightF32,
  "dense/weight_pairs": weightPairs,
  "dense/weight_q8": weightQ8,
  "lib/lanes_subgroup": lanesSubgroup,
  "lib/lanes_workgroup": lanesWorkgroup,
  "lib/sample_struct": sampleStruct,
  "lib/step": step,
  "pace/keep_busy": keepBusy,
  "sampling/adjust": adjust,
  "sampling/sample": sample,
  "sampling/score": score,
} as const;

/** Path of a shader file under `shaders/`, without its ending. */
export type ShaderPath = keyof typeof sources;

/** Every shader file. */
export const shaderPaths = Object.keys(sources) as ShaderPath[];

/** The fragments of `paths`, in that order. */
export function shaderFragments(...paths: ShaderPath[]): ShaderFragment[] {
  return paths.map((path) => ({ name: `shaders/${path}.wgsl`, source: sources[path] }));
}
