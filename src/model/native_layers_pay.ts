import { DenseMatrix } from "../../ffi/dense_matrix.ts";
import type { Gpu } from "../gpu/gpu.ts";

/** Whether the native library computes layers faster than this adapter does by the kernels made for it. */
export function nativeLayersPay(gpu: Gpu): boolean {
  return gpu.adapterClass === "software" && gpu.kernels === "lanes" && DenseMatrix.pays;
}
