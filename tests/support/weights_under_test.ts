import { Rng } from "../../src/common/rng.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufTensorInput } from "../../src/formats/gguf_writer.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import type { WeightFormat, WeightMatrix } from "../../src/kernels/weight_matrix.ts";
import { uploadPlain } from "../../src/model/upload_matrix.ts";
import { randomBlocks } from "./random_blocks.ts";

const types = { f32: "F32", f16: "F16", q8: "Q8_0" } as const;

/**
 * Loads `values` [rows][columns] in `format` as a model's tensor would be; also gives what the format makes of them. Of the formats for
 * K types only the size of `values` counts: theirs are random blocks.
 */
export function uploadWeights(
  gpu: Gpu,
  format: WeightFormat,
  columns: number,
  values: Float32Array,
): { matrix: WeightMatrix; values: Float32Array } {
  const shape = [columns, values.length / columns];
  const kType = ({ q4: "Q4_K", q8g16: "Q6_K", q8min: "Q5_K" } as const)[format as "q4"];
  const tensor: GgufTensorInput = format === "q4" || format === "q8g16" || format === "q8min"
    ? {
      name: "weights",
      shape,
      type: kType,
      bytes: randomBlocks(kType, values.length, new Rng(values.length), 0.3),
    }
    : { name: "weights", shape, type: types[format], values };
  using file = GgufFile.read(encodeGguf({ metadata: {}, tensors: [tensor] }));
  const matrix = uploadPlain({ gpu }, file, "weights");
  if (matrix.format !== format) throw new Error(`${tensor.type} is held as ${matrix.format}`);
  return { matrix, values: file.readFloats(file.tensor("weights")) };
}
