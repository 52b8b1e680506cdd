import type { WeightHomes } from "../kernels/weight_matrix.ts";

/** What a matrix is for: products, look-ups by token, or both. */
export type WeightRole = "product" | "embedding" | "tied";

/**
 * Where a matrix is held: natively for products, if the native library computes the layers, on the GPU for everything else.
 *
 * @param native whether it does
 */
export function weightHomes(native: boolean, role: WeightRole): WeightHomes {
  return { gpu: !native || role !== "product", native: native && role !== "embedding" };
}
