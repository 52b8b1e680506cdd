/** Decode and prefill of Llama 3 8B's shape (Q8_0, synthetic weights) on a real GPU, against context length. @module */
import { median } from "../../src/common/math.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import type { Bench, BenchContext } from "./harness.ts";
import { llama3Shape, syntheticLlama } from "./large/synthetic_model.ts";

/** Contexts measured; keys and values are whatever the pages hold, since time does not depend on them. */
const contexts: [name: string, tokens: number][] = [["1k", 1024], ["8k", 8192], ["32k", 32768], [
  "128k",
  131000,
]];

const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };

async function run(context: BenchContext): Promise<void> {
  if (!context.full) {
    return context.note("large: left out, it takes 30 GiB of GPU memory; add --full");
  }
  const gpu = await Gpu.open();
  if (gpu.adapterClass === "software") {
    gpu.dispose();
    return context.note("large: left out, there is no GPU");
  }
  const start = performance.now();
  await using runner = await GpuStepRunner.load(
    syntheticLlama(llama3Shape),
    { maxSequences: 8, maxBatchTokens: 2048, kvTokens: 131072, maxKvBytes: 40 * 2 ** 30 },
    gpu,
  );
  context.note(`large: loaded in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  const gigabytes = runner.gpuBytes / 2 ** 30;
  const pages = (tokens: number) => Array.from({ length: Math.ceil(tokens / 64) }, (_, i) => i);
  const step = (tokens: number, position: number) => {
    runner.submit({
      rows: [{
        slot: 0,
        tokens: new Uint32Array(tokens),
        position,
        pages: pages(position + Math.max(1, tokens)),
        sample: true,
        sampling,
        sampleIndex: 0,
        decode: { kind: "dense" },
      }],
      copies: [],
    });
    const begin = performance.now();
    runner.collect();
    return performance.now() - begin;
  };
  for (const [name, tokens] of contexts) {
    const times = Array.from({ length: 24 }, (_, i) => step(0, tokens + i));
    context.report({
      case: `llama3_8b_decode_${name}`,
      metric: "ms_per_token",
      value: median(times),
      unit: "ms",
    });
  }
  const prefill = Array.from({ length: 4 }, () => step(2048, 0));
  context.report({
    case: "llama3_8b_prefill_2k",
    metric: "tokens_per_s",
    value: 2048 / median(prefill) * 1000,
    unit: "tokens/s",
  });
  context.report({
    case: "llama3_8b_kv_128k",
    metric: "gpu_memory",
    value: gigabytes,
    unit: "GiB",
  });
}

/** A large model's shape on a real GPU. */
export const bench: Bench = {
  name: "large",
  summary: "Llama 3 8B's shape on a GPU, by context length (--full)",
  run,
};
