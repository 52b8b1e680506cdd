import type { WeightFormat, WeightHomes } from "../kernels/weight_matrix.ts";

/** What a matrix is for: products, look-ups by token, or both. */
export type WeightRole = "product" | "embedding" | "tied";

/**
 * Where a matrix is held: natively for products, if the native library makes those of quantised weights, on the GPU for everything else.
 *
 * @param native whether the native library makes them
 */
export function weightHomes(native: boolean, role: WeightRole, format: WeightFormat): WeightHomes {
  const there = native && role !== "embedding" && format.startsWith("q");
  return { gpu: !there || role === "tied", native: there };
}
