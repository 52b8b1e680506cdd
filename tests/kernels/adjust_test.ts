import { assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { StepRow } from "../../src/engine/step.ts";
import { TokenAdjustments } from "../../src/engine/token_adjustments.ts";
import type { SamplingOptions } from "../../src/engine/types.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { ADJUSTED_BYTES, createAdjust, maskWords } from "../../src/kernels/adjust.ts";
import { assertClose } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();
const VOCABULARY = 301;
const STRIDE = 320;
const SLOTS = 6;

/** The kernel behind its uploads, on buffers of their own. */
async function makeBench() {
  const make = (label: string, bytes: number) => gpu.buffers.storage(label, bytes);
  const buffers = {
    logits: make("logits", SLOTS * STRIDE * 4),
    adjusted: make("adjusted", SLOTS * ADJUSTED_BYTES),
    adjustments: make("adjustments", SLOTS * VOCABULARY * 4),
    masks: make("masks", SLOTS * maskWords(VOCABULARY) * 4),
    lastSampled: make("last sampled", SLOTS * 4),
  };
  // What an earlier sequence left behind must not matter.
  gpu.buffers.write(buffers.adjustments, 0, new Uint32Array(SLOTS * VOCABULARY).fill(0x3c000007));
  // Several workgroups a row, as a GPU has.
  const options = { vocabulary: VOCABULARY, logitsPerRow: STRIDE, buffers, groups: 3 };
  const adjust = await createAdjust(gpu, options);
  const adjustments = new TokenAdjustments(gpu, buffers, VOCABULARY);
  /** Logits of the sampled rows after a step in which every slot has sampled `last` before. */
  async function step(rows: StepRow[], last: number[], before: Float32Array<ArrayBuffer>) {
    gpu.buffers.write(buffers.logits, 0, before);
    gpu.buffers.write(buffers.lastSampled, 0, Uint32Array.from(last));
    const count = adjustments.prepare(rows);
    const pass = new StepPass(gpu);
    if (count > 0) adjust(pass, count);
    pass.submit();
    const found = await readBuffer(gpu, buffers.logits, 0, before.byteLength);
    return { count, after: new Float32Array(found) };
  }
  return { step, adjustments };
}

function row(slot: number, sampling: Partial<SamplingOptions>, ids: number[], from = 2): StepRow {
  return {
    slot,
    tokens: new Uint32Array(0),
    position: ids.length,
    pages: [],
    sample: true,
    sampling: { ...greedy, ...sampling },
    ids,
    generatedFrom: from,
    sampleIndex: ids.length - from,
    decode: { kind: "dense" },
  };
}

/** A row's logits as OpenAI documents them. */
function oracle(
  logits: Float32Array,
  { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} }: Partial<SamplingOptions>,
  generated: number[],
): Float32Array {
  return logits.map((logit, id) => {
    const count = id < VOCABULARY ? generated.filter((token) => token === id).length : 0;
    return logit + (logitBias[id] ?? 0) - count * frequencyPenalty -
      (count > 0 ? presencePenalty : 0);
  });
}

gpuTest("adjust adds biases and takes penalties of generated tokens, step after step", async () => {
  const { step } = await makeBench();
  const rng = new Rng(11);
  const asked: Partial<SamplingOptions>[] = [
    { presencePenalty: 0.75 },
    {},
    { frequencyPenalty: -0.5, logitBias: { 0: -100, 300: 12.5 } },
    { presencePenalty: -2, frequencyPenalty: 1.25, logitBias: { 7: 3 } },
  ];
  // Prompts hold the tokens too, which must not count.
  const ids = asked.map((_, slot) => [7, 9, ...slot === 3 ? [7, 7, 300] : []]);
  for (let at = 0; at < 9; at++) {
    const before = rng.normals(SLOTS * STRIDE, 3);
    const rows = asked.map((sampling, slot) => row(slot + 1, sampling, ids[slot]));
    // A row that samples nothing stands before them: samples are counted without it.
    rows.unshift({ ...row(0, { presencePenalty: 1 }, [1, 2, 3]), sample: false });
    const last = [5, ...ids.map((own) => own.at(-1)!), 5];
    const { count, after } = await step(rows, last, before);
    assertEquals(count, 3);
    asked.forEach((sampling, i) => {
      const own = before.subarray(i * STRIDE, (i + 1) * STRIDE);
      assertClose(
        after.subarray(i * STRIDE, (i + 1) * STRIDE),
        oracle(own, sampling, ids[i].slice(2)),
        1e-6,
      );
    });
    assertEquals(after.subarray(4 * STRIDE), before.subarray(4 * STRIDE), "rows behind");
    ids.forEach((own) => own.push(at % 3 === 0 ? 7 : rng.integer(VOCABULARY)));
  }
});

gpuTest(
  "adjust begins anew with the sequence that next takes a slot, and counts what it brings",
  async () => {
    const { step, adjustments } = await makeBench();
    const before = new Rng(12).normals(SLOTS * STRIDE, 3);
    const wanted = { presencePenalty: 1, frequencyPenalty: 0.25 };
    await step([row(2, wanted, [1, 2])], [0, 0, 44, 0, 0, 0], before);
    await step([row(2, wanted, [1, 2, 44])], [0, 0, 44, 0, 0, 0], before);
    adjustments.leave(2);
    // Pre-empted after five tokens: what its slot sampled last is another's.
    const ids = [1, 2, 60, 60, 61, 62, 60];
    const { after } = await step([row(2, wanted, ids)], [0, 0, 44, 0, 0, 0], before);
    assertClose(
      after.subarray(0, STRIDE),
      oracle(before.subarray(0, STRIDE), wanted, ids.slice(2)),
      1e-6,
    );
  },
);

gpuTest("adjust leaves a step alone in which nobody asks for it", async () => {
  const { step } = await makeBench();
  const before = new Rng(13).normals(SLOTS * STRIDE, 3);
  const neutral = { presencePenalty: 0, frequencyPenalty: 0, logitBias: {} };
  const { count, after } = await step(
    [row(0, neutral, [1, 2, 3, 3]), row(1, {}, [1])],
    [3],
    before,
  );
  assertEquals(count, 0);
  assertEquals(after, before);
});

gpuTest("adjust leaves a constrained row the tokens of its mask alone, beside others", async () => {
  const { step } = await makeBench();
  const rng = new Rng(14);
  const before = rng.normals(SLOTS * STRIDE, 3);
  // The first and last token, whole words and single bits; none at all.
  const allowed = [
    new Set([0, 31, 32, 63, 64, 300]),
    new Set(Array.from({ length: 150 }, () => rng.integer(VOCABULARY))),
    new Set<number>(),
  ];
  const masked = (row: StepRow, ids: Set<number>): StepRow => ({
    ...row,
    constraint: {
      mask(words) {
        words.fill(0);
        for (const id of ids) words[id >> 5] |= 1 << (id & 31);
      },
    },
  });
  const wanted = { presencePenalty: 0.5, logitBias: { 31: 4 } };
  const rows = [
    row(5, {}, [1, 2]),
    masked(row(1, {}, [1, 2, 32]), allowed[0]),
    row(2, wanted, [1, 2, 31]),
    masked(row(3, wanted, [1, 2, 31, 64]), allowed[1]),
    // A row that samples nothing asks for no mask.
    { ...masked(row(0, {}, [1]), allowed[0]), sample: false },
    masked(row(4, {}, [1, 2]), allowed[2]),
  ];
  const { count, after } = await step(rows, new Array(SLOTS).fill(9), before);
  assertEquals(count, 4);
  const [free, first, adjusted, both, nothing] = Array.from(
    { length: 5 },
    (_, i) => after.subarray(i * STRIDE, (i + 1) * STRIDE),
  );
  const own = (i: number) => before.subarray(i * STRIDE, (i + 1) * STRIDE);
  const cut = (logits: Float32Array, ids: Set<number>) =>
    logits.map((logit, id) => id < VOCABULARY && !ids.has(id) ? -Infinity : logit);
  assertEquals(free, own(0));
  assertEquals(first, cut(own(1), allowed[0]));
  assertClose(adjusted, oracle(own(2), wanted, [31]), 1e-6);
  const expected = cut(oracle(own(3), wanted, [31, 64]), allowed[1]);
  both.forEach((logit, id) => {
    if (expected[id] === -Infinity) assertEquals(logit, -Infinity);
    else assertClose(Float32Array.of(logit), Float32Array.of(expected[id]), 1e-6);
  });
  assertEquals(nothing.subarray(0, VOCABULARY), new Float32Array(VOCABULARY).fill(-Infinity));
});
