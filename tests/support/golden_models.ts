import { readNpy } from "../../src/formats/npy.ts";

const folder = new URL("../golden/models/", import.meta.url).pathname;

/** The tiny models under tests/golden/models: random weights, logits by an independent implementation. */
export const goldenModels = [
  "tiny_llama_f32",
  "tiny_llama_f16",
  "tiny_llama_q8_0",
  "tiny_arcee_f32",
  "tiny_arcee_f16",
  "tiny_arcee_q8_0",
  "tiny_arcee_q4_0",
  "tiny_qwen2_f32",
  "tiny_qwen2_q8_0",
  "tiny_qwen2_yarn_f32",
  "tiny_qwen3_f32",
  "tiny_qwen3_q8_0",
  "tiny_phi3_f32",
  "tiny_phi3_short_q8_0",
  "tiny_gemma3_f32",
  "tiny_gemma3_q8_0",
  "tiny_smollm3_q8_0",
  "tiny_granite_q8_0",
] as const;

export type GoldenModel = (typeof goldenModels)[number];

/** Path of a golden model's file. */
export function goldenPath(model: GoldenModel): string {
  return `${folder}${model}.gguf`;
}

const prompts = JSON.parse(Deno.readTextFileSync(`${folder}prompt.json`)) as {
  prompt: number[];
  long_prompt: number[];
  /** Models whose logits and continuation are those of the long prompt. */
  long: GoldenModel[];
  greedy: Record<GoldenModel, number[]>;
};

/** The prompt of all golden models but those with windows. */
export const goldenPrompt: readonly number[] = prompts.prompt;

/** The prompt of a model: `goldenPrompt`, or a longer one that begins with it. */
export function goldenPromptOf(model: GoldenModel): readonly number[] {
  return prompts.long.includes(model) ? prompts.long_prompt : prompts.prompt;
}

/** What a model's greedy decoding appends to the prompt. */
export function goldenGreedy(model: GoldenModel): readonly number[] {
  return prompts.greedy[model];
}

/** Logits [position of the prompt][vocabulary], one after the other. */
export function goldenLogits(model: GoldenModel): Float32Array {
  return readNpy(`${folder}${model}.logits.npy`).data as Float32Array;
}
