import type { AttentionShape } from "./attention_shape.ts";
import type { LinearFinish } from "./linear_variant.ts";
import type { StepBuffers } from "./step_buffers.ts";

/**
 * What becomes of query, key and value projections: biases, RoPE, queries of the step and keys and values in their pages.
 *
 * @param queryScale factor of scores
 * @param buffers `query` f32 `[row][head][padded head dimension]`; `keys` and `values` a layer's pages; `rope` of `ropeTable`; `bias` f32 per row
 *   of the matrix, or undefined
 */
export function qkvFinish(
  shape: Omit<AttentionShape, "outputRowQuads">,
  queryScale: number,
  buffers: {
    step: StepBuffers;
    query: GPUBuffer;
    keys: GPUBuffer;
    values: GPUBuffer;
    rope: GPUBuffer;
    bias?: GPUBuffer;
  },
): LinearFinish {
  const { step, query, keys, values, rope, bias } = buffers;
  return {
    fragments: [
      bias ? "dense/bias_added" : "dense/bias_none",
      `attention/kv_store_${shape.kvType}`,
      "attention/finish_qkv",
    ],
    bindings: {
      query,
      key_cache: keys,
      value_cache: values,
      rows: step.rows,
      pages: step.pages,
      rope,
      ...(bias ? { bias } : {}),
    },
    constants: {
      HEADS: shape.heads,
      KV_HEADS: shape.kvHeads,
      HEAD_DIM: shape.paddedHeadDim,
      // The softmax uses exp2.
      QUERY_SCALE: Math.LOG2E * queryScale,
    },
    long: true,
  };
}
