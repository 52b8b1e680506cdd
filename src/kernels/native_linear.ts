import type { Activation, ByteMatrix, RowNorm } from "../../ffi/byte_matrix.ts";
import { ceilDiv } from "../common/math.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { bindKernel } from "../gpu/kernel_call.ts";
import type { StepPass } from "../gpu/pass.ts";
import { assembleShader } from "../gpu/shader.ts";
import type { LinearInput, LinearOptions } from "./linear_variant.ts";
import type { NativeProducts } from "./native_products.ts";
import { shaderFragments } from "./shader_files.ts";

/** Rows of a workgroup of `finish_product`. */
const FINISH_ROWS = 8;

/** What a feed-forward network does before its last product. */
export interface FirstProduct {
  weights: ByteMatrix;
  input: LinearInput;
  activation: Activation;
}

/**
 * A product that the native library makes while the step is recorded: what came before is submitted and waited for, its rows are read, and a
 * shader takes the products on to where they go.
 *
 * @param first the product and the activation that its operand comes from, in place of its input
 * @returns what records it for so many rows
 */
export async function createNativeLinear(
  gpu: Gpu,
  { label, step, matrix, input, finish }: LinearOptions,
  weights: ByteMatrix,
  native: NativeProducts,
  first?: FirstProduct,
): Promise<(pass: StepPass, rows: number) => void> {
  const operand = first?.input ?? input;
  const sampled = operand.kind === "sampled";
  const fragments = shaderFragments(
    "lib/step",
    `dense/rows_${sampled ? "sampled" : "all"}`,
    ...finish.fragments,
    "dense/finish_product",
  );
  const [pipeline, gather] = await Promise.all([
    gpu.pipelines.get(
      assembleShader(`${label} finish`, fragments),
      "finish_product",
      finish.constants,
    ),
    sampled ? compileGather(gpu, operand, native) : undefined,
  ]);
  const call = bindKernel(gpu, pipeline, { step, product: native.product, ...finish.bindings });
  const columns = operand.quadsPerRow * 4;
  const norm = rowNorm(label, operand);
  return (pass, rows) => {
    if (gather) pass.dispatch(gather, [rows]);
    const results = native.results.subarray(0, rows * matrix.rows);
    native.recording(() => {
      const from = gather ? native.gathered : operand.buffer;
      native.operands.record(pass, from, 0, rows * columns * 4);
      pass.flush();
      native.operands.use((mapped) => {
        const numbers = new Float32Array(mapped, 0, rows * columns);
        if (first) first.weights.feedForward(weights, first.activation, numbers, results, norm);
        else weights.multiply(numbers, results, norm);
      });
    });
    gpu.buffers.write(native.product, 0, results);
    pass.dispatch(call, [matrix.rows / 64, ceilDiv(rows, FINISH_ROWS)]);
  };
}

function rowNorm(label: string, input: LinearInput): RowNorm | undefined {
  if (input.kind === "plain") return undefined;
  const { gains, width, epsilon } = input;
  if (!gains) throw new TypeError(`create linear ${label}: native products need the norm's gains`);
  return { gains, width, epsilon };
}

async function compileGather(
  gpu: Gpu,
  { quadsPerRow, buffer, samples }: Extract<LinearInput, { kind: "sampled" }>,
  native: NativeProducts,
) {
  const fragments = shaderFragments("lib/sample_struct", "dense/gather_rows");
  const pipeline = await gpu.pipelines.get(
    assembleShader("gather rows", fragments),
    "gather_rows",
    { INPUT_QUADS_PER_ROW: quadsPerRow },
  );
  return bindKernel(gpu, pipeline, { input: buffer, samples, gathered: native.gathered });
}
