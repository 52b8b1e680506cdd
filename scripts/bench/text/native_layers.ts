import { DenseMatrix } from "../../../ffi/dense_matrix.ts";
import { median } from "../../../src/common/math.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import { GpuStepRunner } from "../../../src/engine/runner.ts";
import { greedy } from "../../../src/engine/sampling_defaults.ts";
import { classifyAdapter } from "../../../src/gpu/adapter_class.ts";
import type { BenchContext } from "../harness.ts";
import { prepared } from "./prepared.ts";
import { type LlamaShape, syntheticLlama } from "../large/synthetic_model.ts";

const DECODE = 64;
const ROUNDS = 5;

/** About Qwen 2.5 0.5B, in widths that K types have. */
const halfBillion: LlamaShape = {
  layers: 24,
  width: 1024,
  heads: 16,
  kvHeads: 2,
  headDim: 64,
  hidden: 4864,
  vocabulary: 151936,
  contextLength: 4096,
};

/**
 * Prompts and decode with the native library's products and attention, and with shaders alone: on software adapters, where the first is the default. With
 * `--full` also a made model of half a billion weights.
 */
export async function nativeLayers(context: BenchContext, model: string): Promise<void> {
  const open = async (nativeLayers: boolean) => {
    const start = performance.now();
    const engine = await TextEngine.open({
      model,
      isolate: "process",
      contextLength: 16384,
      nativeLayers,
    });
    return { engine, ms: performance.now() - start };
  };
  const { engine: native, ms: openMs } = await open(true);
  await using _native = native;
  const { device } = native.info;
  const adapter = classifyAdapter({ vendor: "", description: device, device: "" });
  if (!DenseMatrix.pays || adapter !== "software") return;
  const { engine: shaders, ms: shadersMs } = await open(false);
  await using _shaders = shaders;
  context.report({
    case: "native_open",
    metric: "ms",
    value: openMs,
    unit: "ms",
    baseline: `shaders, ${shadersMs.toFixed(0)} ms`,
    ratio: shadersMs / openMs,
  });
  const words = await native.tokenize("It was a bright cold day, and the ship lay at anchor.");
  let salt = 0;
  const run = async (engine: TextEngine, length: number, maxTokens: number) => {
    const ids = Array.from(
      { length },
      (_, i) => i === 0 ? salt++ % 1000 + 3 : words[i * 7 % words.length],
    );
    return (await engine.complete([{ type: "tokens", ids }], { maxTokens, ignoreEos: true })).usage;
  };
  for (const engine of [native, shaders]) await run(engine, 600, 8);
  await prepared();
  const compare = async (
    name: string,
    length: number,
    maxTokens: number,
    rate: (usage: Awaited<ReturnType<typeof run>>) => number,
    rounds = ROUNDS,
  ) => {
    const rates: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const [i, engine] of [native, shaders].entries()) {
        rates[i].push(rate(await run(engine, length, maxTokens)));
      }
    }
    report(context, `native_${name}`, rates);
  };
  await compare("prefill_1k", 1024, 1, ({ ttftMs }) => 1024 / ttftMs * 1000);
  await compare("prefill_8k", 8192, 1, ({ ttftMs }) => 8192 / ttftMs * 1000, 2);
  await compare("decode_1", 32, DECODE, ({ decodeMs }) => (DECODE - 1) / decodeMs * 1000);
  await shift(context, native, shaders);
  if (context.full) { for (const type of ["Q8_0", "Q4_K"] as const) await made(context, type); }
}

function report(context: BenchContext, name: string, rates: [number[], number[]]): void {
  const [value, alone] = rates.map(median);
  context.report({
    case: name,
    metric: "tokens_per_s",
    value,
    unit: "tokens/s",
    baseline: `shaders, ${alone.toFixed(1)} tokens/s`,
    ratio: median(rates[0].map((rate, i) => rate / rates[1][i])),
  });
}

/** By how much the log probabilities of a text's tokens differ: this project's own description. */
async function shift(context: BenchContext, native: TextEngine, shaders: TextEngine) {
  const url = new URL("../../../ARCHITECTURE.md", import.meta.url);
  const text = (await Deno.readTextFile(url)).slice(0, 12_000);
  const scores = await Promise.all([native, shaders].map(async (engine) => {
    const { prompt } = await engine.complete(text, { maxTokens: 1, echo: true, logprobs: 0 });
    return prompt!.logprobs!.slice(1).map(({ logprob }) => logprob!);
  }));
  const off = scores[0].map((logprob, i) => Math.abs(logprob - scores[1][i]));
  const mean = off.reduce((sum, x) => sum + x, 0) / off.length;
  context.report({ case: "native_logprobs", metric: "mean_shift", value: mean, unit: "nats" });
  const whole = scores.map((logprobs) => logprobs.reduce((sum, x) => sum + x, 0) / logprobs.length);
  context.report({
    case: "native_logprobs",
    metric: "nats_per_token",
    value: -whole[0],
    unit: "nats",
    baseline: `shaders, ${(-whole[1]).toFixed(5)}`,
    ratio: whole[0] / whole[1],
  });
}

/** A made model of half a billion weights: 256 tokens read, then decode. */
async function made(context: BenchContext, type: "Q8_0" | "Q4_K"): Promise<void> {
  const read: [number[], number[]] = [[], []], decoded: [number[], number[]] = [[], []];
  for (const [i, nativeLayers] of [true, false].entries()) {
    await using runner = await GpuStepRunner.load(syntheticLlama(halfBillion, type), {
      contextLength: 1024,
      maxSequences: 4,
      kvTokens: 1024,
      retrieval: false,
      nativeLayers,
    });
    const pages = Array.from({ length: 8 }, (_, page) => page);
    const step = (tokens: number[], position: number) => {
      const start = performance.now();
      runner.submit({
        rows: [{
          slot: 0,
          tokens: Uint32Array.from(tokens),
          position,
          pages,
          sample: true,
          sampling: greedy,
          sampleIndex: 0,
          decode: { kind: "dense" },
        }],
        copies: [],
      });
      runner.collect();
      return performance.now() - start;
    };
    for (let round = 0; round < 3; round++) {
      const prompt = Array.from({ length: 256 }, (_, at) => (at * 97 + round) % 5000);
      read[i].push(256 / step(prompt, 0) * 1000);
      for (let at = 0; at < 8; at++) decoded[i].push(1000 / step([], 256 + at));
    }
  }
  const name = `native_half_billion_${type.toLowerCase()}`;
  report(context, `${name}_prefill_256`, read);
  report(context, `${name}_decode_1`, decoded);
}
