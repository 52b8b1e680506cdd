import { GgufFile } from "../../../src/formats/gguf.ts";
import { GpuStepRunner } from "../../../src/engine/runner.ts";
import type { Activations } from "../../../src/model/transformer_options.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";

/** How a text is cut into scored windows. */
export interface WindowOptions {
  /** Tokens run at once. */
  window: number;
  /** Tokens scored in each window: those at its end, so each has at least `window - stride` before it. */
  stride: number;
  /** Score only the first so many tokens of the text. */
  most?: number;
  /** What quantised weights are multiplied with; default the runner's. */
  activations?: Activations;
}

/** Bits per byte of a text, and the bytes that were scored. */
export interface TextScore {
  bitsPerByte: number;
  bytes: number;
}

/**
 * −log₂ of the probability that the model at `path` gives `text`, per UTF-8 byte, computed by the engine's own kernels.
 * Each text is tokenized whole. The first token of a text has nothing before it and is not scored.
 */
export async function bitsPerByte(
  path: string,
  texts: Record<string, string>,
  { window, stride, most, activations }: WindowOptions,
): Promise<Record<string, TextScore>> {
  using file = GgufFile.open(path);
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  await using runner = await GpuStepRunner.load(file, { activations });
  const scores: Record<string, TextScore> = {};
  for (const [name, text] of Object.entries(texts)) {
    const ids = Uint32Array.from(tokenizer.encode(text)).subarray(0, most);
    let nats = 0;
    for (let start = 0; start < ids.length - 1; start += stride) {
      const begin = Math.max(0, start + stride - window);
      const logProbabilities = runner.score(ids.subarray(begin, start + stride + 1));
      for (const value of logProbabilities.subarray(start - begin)) nats -= value;
    }
    const bytes = new TextEncoder().encode(tokenizer.decode([...ids.subarray(1)])).length;
    scores[name] = { bitsPerByte: nats / Math.LN2 / bytes, bytes };
  }
  return scores;
}
