import { roundUp } from "../common/math.ts";
import type { ProductSizes } from "../kernels/native_products.ts";
import { COLUMN_MULTIPLE, ROW_MULTIPLE } from "../kernels/weight_matrix.ts";
import type { ModelConfig } from "./config.ts";
import { pageBytes } from "./kv_cache.ts";
import type { TransformerOptions } from "./transformer_options.ts";
import { paddedHeadDim } from "./weights.ts";

/** What a model's steps take and yield natively at most. */
export function productSizes(
  { width, heads, kvHeads, headDim, hidden, feedForward, vocabulary }: ModelConfig,
  { maxRows, maxSequences }: TransformerOptions,
): ProductSizes {
  const columns = (count: number) => roundUp(count, COLUMN_MULTIPLE);
  const rows = (count: number) => roundUp(count, ROW_MULTIPLE);
  const padded = paddedHeadDim(headDim);
  const widest = Math.max(
    columns(width),
    heads * padded,
    columns(heads * headDim),
    columns(hidden),
  );
  const most = Math.max(
    rows((heads + 2 * kvHeads) * padded),
    rows(width),
    columns(heads * headDim),
    rows(feedForward === "relu2" ? hidden : 2 * hidden),
  );
  return {
    operand: Math.max(maxRows * widest, maxSequences * columns(width)),
    product: Math.max(maxRows * most, maxSequences * rows(vocabulary)),
    gathered: maxSequences * columns(width),
    pageBytes: pageBytes({ kvHeads, paddedHeadDim: padded, kvType: "f16" }),
  };
}
