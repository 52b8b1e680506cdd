/** Decode and prefill of Llama 3 8B's shape (Q8_0 and Q4_K, synthetic weights) on a real GPU, against context length. @module */
import { median } from "../../src/common/math.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import type { Activations } from "../../src/model/transformer_options.ts";
import type { Bench, BenchContext, BenchReport } from "./harness.ts";
import { llama3Shape, syntheticLlama } from "./large/synthetic_model.ts";

/** Contexts measured; keys and values are whatever the pages hold, since time does not depend on them. */
const contexts: [name: string, tokens: number][] = [["1k", 1024], ["8k", 8192], ["32k", 32768], [
  "128k",
  131000,
]];

/** Sequences that decode together, behind 1,024 tokens each. */
const batches = [8, 32, 64];

const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };

async function run(context: BenchContext): Promise<void> {
  if (!context.full) {
    return context.note(
      "large: left out, it takes 30 GiB of GPU memory, 10 of the machine's, and minutes; add --full",
    );
  }
  const probe = await Gpu.open();
  const software = probe.adapterClass === "software";
  probe.dispose();
  if (software) return context.note("large: left out, there is no GPU");
  await densely(context, "Q8_0", "");
  await densely(context, "Q4_K", "_q4");
}

/** A model in the shape of Llama 3 8B on the GPU, and how it is stepped. */
async function open(type: "Q8_0" | "Q4_K", activations?: Activations) {
  const gpu = await Gpu.open();
  const runner = await GpuStepRunner.load(
    syntheticLlama(llama3Shape, type),
    {
      maxSequences: Math.max(...batches),
      maxBatchTokens: 2048,
      kvTokens: 131072,
      maxKvBytes: 40 * 2 ** 30,
      activations,
    },
    gpu,
  );
  /** Milliseconds of a step of sequences, each with pages of its own: of `tokens` of their prompts, or of a decode. */
  const step = (tokens: number, position: number, sequences = 1) => {
    const pages = Math.ceil((position + Math.max(1, tokens)) / 64);
    runner.submit({
      rows: Array.from({ length: sequences }, (_, slot) => ({
        slot,
        tokens: new Uint32Array(tokens),
        position,
        pages: Array.from({ length: pages }, (_, i) => slot * pages + i),
        sample: true,
        sampling,
        sampleIndex: 0,
        decode: { kind: "dense" },
      })),
      copies: [],
    });
    const begin = performance.now();
    runner.collect();
    return performance.now() - begin;
  };
  // Clocks fell while weights were copied (an H200's first 24 steps took twice as long as the next).
  for (const end = performance.now() + 1000; performance.now() < end;) step(0, 1024);
  return { runner, step };
}

type Step = Awaited<ReturnType<typeof open>>["step"];

/** Tokens a second of prompts of 2,048 tokens behind `before` others. */
function prefillSpeed(step: Step, before: number): number {
  return 2048 / median(Array.from({ length: 4 }, () => step(2048, before))) * 1000;
}

/** Tokens a second of so many sequences that decode together. */
function decodeSpeed(step: Step, sequences: number): number {
  const times = Array.from({ length: 12 }, (_, i) => step(0, 1024 + i, sequences));
  return sequences / median(times) * 1000;
}

/** What a row is compared with: the same with activations in f32; `ratio` above 1 is better. */
function inFloatsOf(theirs: number, ratio: number): Pick<BenchReport, "baseline" | "ratio"> {
  return { baseline: `activations in f32, ${theirs.toPrecision(3)}`, ratio };
}

/** Decode and prefill with dense attention and weights of a type, which names its rows by `suffix`. */
async function densely(
  context: BenchContext,
  type: "Q8_0" | "Q4_K",
  suffix: string,
): Promise<void> {
  const plain = await open(type, "f32");
  const inFloats = prefillSpeed(plain.step, 0);
  const oneInFloats = median(Array.from({ length: 24 }, (_, i) => plain.step(0, 1024 + i)));
  const togetherInFloats = batches.map((sequences) => decodeSpeed(plain.step, sequences));
  await plain.runner[Symbol.asyncDispose]();
  const start = performance.now();
  const { runner, step } = await open(type);
  await using _opened = runner;
  context.note(`large: ${type} loaded in ${((performance.now() - start) / 1000).toFixed(1)} s`);
  for (const [name, tokens] of contexts) {
    const times = Array.from({ length: 24 }, (_, i) => step(0, tokens + i));
    context.report({
      case: `llama3_8b${suffix}_decode_${name}`,
      metric: "ms_per_token",
      value: median(times),
      unit: "ms",
      ...(tokens === 1024 && inFloatsOf(oneInFloats, oneInFloats / median(times))),
    });
  }
  for (const [i, sequences] of batches.entries()) {
    const speed = decodeSpeed(step, sequences);
    context.report({
      case: `llama3_8b${suffix}_decode_${sequences}x1k`,
      metric: "tokens_per_s",
      value: speed,
      unit: "tokens/s",
      ...inFloatsOf(togetherInFloats[i], speed / togetherInFloats[i]),
    });
  }
  const speed = prefillSpeed(step, 0);
  context.report({
    case: `llama3_8b${suffix}_prefill_2k`,
    metric: "tokens_per_s",
    value: speed,
    unit: "tokens/s",
    ...inFloatsOf(inFloats, speed / inFloats),
  });
  context.report({
    case: `llama3_8b${suffix}_prefill_2k_behind_32k`,
    metric: "tokens_per_s",
    value: prefillSpeed(step, 32768),
    unit: "tokens/s",
  });
  // A question of 16 tokens about a text that the cache holds: until its answer's first token.
  for (const [name, before] of contexts.slice(1)) {
    const times = Array.from({ length: 5 }, () => step(16, before));
    context.report({
      case: `llama3_8b${suffix}_question_behind_${name}`,
      metric: "ms_to_first_token",
      value: median(times),
      unit: "ms",
    });
  }
  context.report({
    case: `llama3_8b${suffix}_kv_128k`,
    metric: "gpu_memory",
    value: runner.gpuBytes / 2 ** 30,
    unit: "GiB",
  });
}

/** A large model's shape on a real GPU. */
export const bench: Bench = {
  name: "large",
  summary: "Llama 3 8B's shape on a GPU, by context length (--full)",
  run,
};
