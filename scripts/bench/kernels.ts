/** Kernel throughput against the ceilings of the same device, and the latency of a readback. @module */
import { median } from "../../src/common/math.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import type { Bench, BenchContext } from "./harness.ts";
import { benchDecode } from "./kernels/bench_decode.ts";
import { benchFlash } from "./kernels/bench_flash.ts";
import { benchLinear } from "./kernels/bench_linear.ts";
import { benchScore } from "./kernels/bench_score.ts";
import { GpuClock, type GpuWork } from "./kernels/gpu_clock.ts";
import { createPeaks } from "./kernels/peaks.ts";

/** Relative error above which a kernel's figure is not reported. */
const tolerance = 1e-4;
/** The same where operands are rounded to bytes. */
const byteTolerance = 2e-2;

async function run(context: BenchContext): Promise<void> {
  using gpu = await Gpu.open();
  const clock = await GpuClock.open(gpu);
  const peaks = await createPeaks(gpu);
  const cases: { name: string; work: GpuWork & { flops: number; error(): Promise<number> } }[] = [
    { name: "matmul_f32_1024", work: await benchLinear(gpu, "f32", 1024) },
    { name: "matmul_f16_1024", work: await benchLinear(gpu, "f16", 1024) },
    { name: "matmul_q8_1024", work: await benchLinear(gpu, "q8", 1024) },
    ...(gpu.kernels === "wide"
      ? [{ name: "matmul_q8_int8_1024", work: await benchLinear(gpu, "q8", 1024, "int8") }]
      : []),
    { name: "flash_1k", work: await benchFlash(gpu, 1024) },
    { name: "flash_4k", work: await benchFlash(gpu, 4096) },
    ...(context.full ? [{ name: "flash_16k", work: await benchFlash(gpu, 16384) }] : []),
  ];
  context.note(`timing ${cases.length} kernels in turn with the device's ceilings`);
  const [fmaMs, readMs, ...times] = clock.race([
    peaks.fma,
    peaks.read,
    ...cases.map((c) => c.work),
  ]);
  const peak = peaks.fma.flops / fmaMs / 1e6;
  context.report({ case: "peak_fma", metric: "gflops", value: peak, unit: "GFLOP/s" });
  context.report({
    case: "peak_read",
    metric: "gb_per_s",
    value: peaks.read.bytes / readMs / 1e6,
    unit: "GB/s",
  });
  for (const [i, { name, work }] of cases.entries()) {
    const error = await work.error();
    const bound = name.includes("int8") ? byteTolerance : tolerance;
    if (!(error < bound)) {
      throw new Error(`bench ${name}: relative error is ${error}, expected under ${bound}`);
    }
    const gflops = work.flops / times[i] / 1e6;
    context.report({
      case: name,
      metric: "gflops",
      value: gflops,
      unit: "GFLOP/s",
      baseline: "peak_fma",
      ratio: gflops / peak,
    });
  }
  await sharedDecode(gpu, clock, context);
  await windows(gpu, clock, context);
  await scoring(gpu, clock, context);
  await readbackLatency(gpu, context);
}

/** Rows that share a prefix of 6,144 tokens: each walking it alone, and together. */
async function sharedDecode(gpu: Gpu, clock: GpuClock, context: BenchContext): Promise<void> {
  for (const rows of [2, 8, 32]) {
    const { each, shared, differing } = await benchDecode(gpu, rows, 6144);
    const wrong = await differing();
    if (wrong > 0) throw new Error(`bench shared decode: ${wrong} values differ, expected none`);
    const [eachMs, sharedMs] = clock.race([each, shared]);
    context.report({
      case: `decode_attention_shared_${rows}x6k`,
      metric: "ms",
      value: sharedMs,
      unit: "ms",
      baseline: `each row by itself, ${eachMs.toFixed(2)} ms`,
      ratio: eachMs / sharedMs,
    });
  }
}

/** Rows that see 512 of 4,096 tokens of a prompt, and 512 of 6,144 while decoding, against rows that see all. */
async function windows(gpu: Gpu, clock: GpuClock, context: BenchContext): Promise<void> {
  const [allRead, read] = [await benchFlash(gpu, 4096), await benchFlash(gpu, 4096, 512)];
  const [all, some] = [await benchDecode(gpu, 8, 6144), await benchDecode(gpu, 8, 6144, 512)];
  const [allReadMs, readMs, allMs, ms] = clock.race([allRead, read, all.each, some.each]);
  const error = await read.error();
  if (!(error < tolerance)) {
    throw new Error(`bench windows: relative error is ${error}, expected under ${tolerance}`);
  }
  for (
    const [name, value, whole] of [
      ["attention_4k_window_512", readMs, allReadMs],
      ["decode_attention_8x6k_window_512", ms, allMs],
    ] as const
  ) {
    context.report({
      case: name,
      metric: "ms",
      value,
      unit: "ms",
      baseline: `all tokens, ${whole.toFixed(2)} ms`,
      ratio: whole / value,
    });
  }
}

/** Draws, and log probabilities of the token chosen and of the 5 likeliest, against finding as many as the sampler does and against a greedy choice. */
async function scoring(gpu: Gpu, clock: GpuClock, context: BenchContext): Promise<void> {
  for (const [rows, vocabulary] of [[1, 32768], [8, 32768], [1, 131072]]) {
    const { greedy, topK, draw, nucleus, score, error } = await benchScore(
      gpu,
      rows,
      vocabulary,
      5,
    );
    const off = await error();
    if (!(off < tolerance)) throw new Error(`bench score: relative error is ${off}`);
    const [greedyMs, topKMs, drawMs, nucleusMs, ms] = clock.race([
      greedy,
      topK,
      draw,
      nucleus,
      score,
    ]);
    const size = `${rows}x${vocabulary / 1024}k`;
    const report = (name: string, value: number, baseline: string, baselineMs: number) =>
      context.report({
        case: `${name}_${size}`,
        metric: "ms",
        value,
        unit: "ms",
        baseline: `${baseline}, ${baselineMs.toFixed(3)} ms`,
        ratio: baselineMs / value,
      });
    report("score_top5", ms, "a draw among the top 5", topKMs);
    report("sample_k40_p95", drawMs, "a greedy choice", greedyMs);
    report("sample_p90", nucleusMs, "a greedy choice", greedyMs);
  }
}

async function readbackLatency(gpu: Gpu, context: BenchContext): Promise<void> {
  const words = Uint32Array.from({ length: 1024 }, (_, i) => i * 2654435761);
  const buffer = gpu.buffers.upload("readback bench", words);
  const readback = await Readback.open(gpu, 4096);
  const fast: number[] = [];
  const awaited: number[] = [];
  for (let i = 0; i < 400; i++) {
    const slow = i % 20 === 0;
    words[i] ^= i;
    gpu.buffers.write(buffer, 0, words);
    const start = performance.now();
    const pass = new StepPass(gpu);
    readback.record(pass, buffer, 0, 4096);
    pass.submit();
    const got = new Uint32Array(slow ? await readback.readAwaited() : readback.read());
    (slow ? awaited : fast).push(performance.now() - start);
    if (got.some((word, j) => word !== words[j])) {
      throw new Error(`bench readback_4k: read ${i} returned wrong words`);
    }
  }
  context.report({
    case: "readback_4k",
    metric: "median_ms",
    value: median(fast),
    unit: "ms",
    baseline: "await mapAsync",
    ratio: median(awaited) / median(fast),
  });
}

/** Kernels against their device's ceilings. */
export const bench: Bench = {
  name: "kernels",
  summary: "kernel GFLOP/s against measured ceilings, readback latency",
  run,
};
