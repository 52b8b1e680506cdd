import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf } from "../../src/formats/gguf_writer.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import type { WeightFormat, WeightMatrix } from "../../src/kernels/weight_matrix.ts";
import { uploadPlain } from "../../src/model/upload_matrix.ts";

const types = { f32: "F32", f16: "F16", q8: "Q8_0" } as const;

/** Loads `values` [rows][columns] in `format` as a model's tensor would be; also gives what the format makes of them. */
export function uploadWeights(
  gpu: Gpu,
  format: WeightFormat,
  columns: number,
  values: Float32Array,
): { matrix: WeightMatrix; values: Float32Array } {
  const shape = [columns, values.length / columns];
  const bytes = encodeGguf({
    metadata: {},
    tensors: [{ name: "weights", shape, type: types[format], values }],
  });
  using file = GgufFile.read(bytes);
  return {
    matrix: uploadPlain(gpu, file, "weights"),
    values: file.readFloats(file.tensor("weights")),
  };
}
