import { ModelFormatError } from "../common/errors.ts";
import type { GgufFile } from "../formats/gguf.ts";
import type { ModelConfig } from "./config.ts";
import { LONG_ROPE_FACTORS, ROPE_FACTORS } from "./rope_factors.ts";

/** Names that an error lists. */
const LISTED = 8;

/** Every tensor of a model and its shape, as GGML orders dimensions. */
function expectedTensors(file: GgufFile, config: ModelConfig): Map<string, number[]> {
  const { width, heads, kvHeads, headDim, hidden, vocabulary } = config;
  const shapes = new Map<string, number[]>([["token_embd.weight", [width, vocabulary]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const add = (name: string, ...shape: number[]) => shapes.set(`blk.${layer}.${name}`, shape);
    add("attn_norm.weight", width);
    if (config.fused) {
      add("attn_qkv.weight", width, (heads + 2 * kvHeads) * headDim);
    } else {
      add("attn_q.weight", width, heads * headDim);
      add("attn_k.weight", width, kvHeads * headDim);
      add("attn_v.weight", width, kvHeads * headDim);
    }
    add("attn_output.weight", heads * headDim, width);
    if (config.attentionBias) {
      add("attn_q.bias", heads * headDim);
      add("attn_k.bias", kvHeads * headDim);
      add("attn_v.bias", kvHeads * headDim);
    }
    if (config.outputBias) add("attn_output.bias", width);
    if (config.headNorm) {
      add("attn_q_norm.weight", headDim);
      add("attn_k_norm.weight", headDim);
    }
    add("ffn_norm.weight", width);
    if (config.postNorms) {
      add("post_attention_norm.weight", width);
      add("post_ffw_norm.weight", width);
    }
    if (config.feedForward !== "relu2" && !config.fused) add("ffn_gate.weight", width, hidden);
    add("ffn_up.weight", width, config.fused ? 2 * hidden : hidden);
    add("ffn_down.weight", hidden, width);
  }
  shapes.set("output_norm.weight", [width]);
  if (!config.tiedEmbeddings) shapes.set("output.weight", [width, vocabulary]);
  if (file.tensors.has(ROPE_FACTORS)) shapes.set(ROPE_FACTORS, [config.rope.dimensions / 2]);
  if (config.rope.long) {
    for (const name of Object.values(LONG_ROPE_FACTORS)) {
      shapes.set(name, [config.rope.dimensions / 2]);
    }
  }
  return shapes;
}

/** Refuses divisors of frequencies with which nothing can be divided. */
function checkDivisors(file: GgufFile, name: string): void {
  const values = file.readFloats(file.tensor(name));
  const wrong = values.findIndex((value) => !(value > 0 && value < Infinity));
  if (wrong >= 0) {
    throw new ModelFormatError(
      `${file.name}: ${name}[${wrong}] is ${values[wrong]}, expected a finite number above 0`,
    );
  }
}

/**
 * Checks that a file has the tensors of its configuration and no others: one that is not used would change what the model says.
 * @throws {ModelFormatError} naming what is absent, misshapen or too much, or a divisor of a frequency that is none.
 */
export function checkTensors(file: GgufFile, config: ModelConfig): void {
  const shapes = expectedTensors(file, config);
  for (const [name, shape] of shapes) {
    const found = file.tensor(name).shape;
    if (found.length !== shape.length || found.some((n, i) => n !== shape[i])) {
      throw new ModelFormatError(`${file.name}: ${name} is [${found}], expected [${shape}]`);
    }
  }
  const divisors = [ROPE_FACTORS, ...Object.values(LONG_ROPE_FACTORS)];
  for (const name of divisors) if (shapes.has(name)) checkDivisors(file, name);
  const extra = [...file.tensors.keys()].filter((name) => !shapes.has(name));
  if (extra.length > 0) {
    const more = extra.length > LISTED ? ` and ${extra.length - LISTED} more` : "";
    throw new ModelFormatError(
      `${file.name}: ${
        extra.slice(0, LISTED).join(", ")
      }${more} in the file, expected only the tensors of a dense ` +
        `${config.architecture} model of ${config.layers} layers: others are not supported`,
    );
  }
}
