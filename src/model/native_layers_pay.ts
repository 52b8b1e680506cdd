import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import type { Gpu } from "../gpu/gpu.ts";

/** Whether the native library computes layers faster than this adapter does. */
export function nativeLayersPay(gpu: Gpu): boolean {
  return gpu.adapterClass === "software" && DenseMatrix.pays;
}
