import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import type { SamplingOptions } from "../../src/engine/types.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { createSample } from "../../src/kernels/sample.ts";
import { SAMPLE_BYTES } from "../../src/kernels/step_buffers.ts";
import { samplingOracle } from "../oracle/sampling.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();
const NONE = 0xffffffff;
const VOCABULARY = 301;
const STRIDE = 320;
const ROWS = 4096;

interface Draw extends SamplingOptions {
  slot: number;
  index: number;
}

const greedy: Draw = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, slot: 0, index: 0 };
const free: Draw = { ...greedy, temperature: 1 };

/** As a CPU and as a GPU has it, there with more threads and longer lists. */
const layouts = {
  software: { group: 8, loads: 1, quads: 1, list: 200 },
  gpu: { group: 16, loads: 8, quads: 2, list: 200 },
};

/** The kernel laid out for a kind of adapter, on buffers of its own; made on first use, since compiling is asynchronous. */
class Sampler {
  #made: ReturnType<typeof makeBuffers> | undefined;

  constructor(readonly kind: keyof typeof layouts) {}

  get made() {
    return this.#made ??= makeBuffers(this.kind);
  }

  /** Runs the kernel on rows of logits, each with its draw; padding behind the vocabulary is +∞, which no row may choose. */
  async sample(rows: { logits: ArrayLike<number>; draw: Draw }[]): Promise<number[]> {
    const { logits, samples, sampled, sample } = await this.made;
    const values = new Float32Array(rows.length * STRIDE).fill(Infinity);
    const words = new DataView(new ArrayBuffer(rows.length * SAMPLE_BYTES));
    rows.forEach(({ logits, draw }, i) => {
      values.set(Float32Array.from(logits), i * STRIDE);
      [i, draw.slot, draw.index, draw.seed, draw.topK].forEach((word, j) =>
        words.setUint32(i * SAMPLE_BYTES + j * 4, word, true)
      );
      [draw.temperature, draw.topP, draw.minP].forEach((value, j) =>
        words.setFloat32(i * SAMPLE_BYTES + 20 + j * 4, value, true)
      );
    });
    gpu.buffers.write(logits, 0, values);
    gpu.buffers.write(samples, 0, new Uint8Array(words.buffer));
    gpu.buffers.write(sampled, 0, new Uint32Array(rows.length + 1).fill(77));
    const pass = new StepPass(gpu);
    pass.dispatch(sample, [rows.length]);
    pass.submit();
    const found = new Uint32Array(await readBuffer(gpu, sampled, 0, rows.length * 4 + 4));
    assertEquals(found.at(-1), 77, "the word past the last row");
    return [...found.subarray(0, rows.length)];
  }

  /** Tokens of `count` draws from one row of logits, by their index. */
  drawMany(logits: ArrayLike<number>, draw: Draw, count = ROWS): Promise<number[]> {
    return this.sample(
      Array.from({ length: count }, (_, index) => ({ logits, draw: { ...draw, index } })),
    );
  }
}

async function makeBuffers(kind: keyof typeof layouts) {
  const make = (label: string, bytes: number) => gpu.buffers.storage(label, bytes);
  const buffers = {
    logits: make("logits", ROWS * STRIDE * 4),
    samples: make("samples", ROWS * SAMPLE_BYTES),
    sampled: make("sampled", (ROWS + 1) * 4),
    lastSampled: make("last sampled", ROWS * 4),
  };
  const options = { vocabulary: VOCABULARY, logitsPerRow: STRIDE, buffers, layout: layouts[kind] };
  return { ...buffers, sample: await createSample(gpu, options) };
}

/** Both layouts; several tests ask only for the draws. */
function bothTest(what: string, test: (sampler: Sampler) => Promise<void>): void {
  for (const sampler of samplers) gpuTest(`${what} (${sampler.kind})`, () => test(sampler));
}
const samplers = [new Sampler("software"), new Sampler("gpu")];

bothTest(
  "sample is greedy at temperature 0: the greatest logit, the smallest id among equals",
  async (sampler) => {
    const rng = new Rng(1);
    const plain = rng.normals(VOCABULARY, 3);
    const tie = new Float32Array(VOCABULARY).fill(-5);
    [299, 13, 21, 256].forEach((id) => tie[id] = 2);
    const low = new Float32Array(VOCABULARY).fill(-1e30);
    low[300] = -9e29;
    const masked = new Float32Array(VOCABULARY).fill(-Infinity);
    masked[8] = -1e38;
    const best = plain.indexOf(plain.reduce((a, b) => Math.max(a, b)));
    const rows = [plain, tie, new Float32Array(VOCABULARY), low, masked];
    assertEquals(
      await sampler.sample(
        rows.map((logits, slot) => ({ logits, draw: { ...greedy, slot, topK: 3 } })),
      ),
      [best, 13, 0, 300, 8],
    );
    const { lastSampled } = await sampler.made;
    assertEquals([...new Uint32Array(await readBuffer(gpu, lastSampled, 0, 20))], [
      best,
      13,
      0,
      300,
      8,
    ]);
  },
);

bothTest("sample draws from the softmax: chi-square of 20,000 draws", async (sampler) => {
  const logits = new Float32Array(VOCABULARY).fill(-40);
  new Rng(2).normals(24, 1.5).forEach((x, i) => logits[i * 12] = x);
  const counts = new Float64Array(VOCABULARY);
  for (let seed = 0; seed < 5; seed++) {
    for (const token of await sampler.drawMany(logits, { ...free, temperature: 0.8, seed }, 4000)) {
      counts[token]++;
    }
  }
  const expected = samplingOracle(logits, { ...free, temperature: 0.8 }).map((p) => p * 20_000);
  let chiSquare = 0;
  let cells = 0;
  expected.forEach((e, i) => {
    if (e < 5) assert(counts[i] <= 5 * e + 10, `token ${i}: ${counts[i]} draws, expected ${e}`);
    else {
      chiSquare += (counts[i] - e) ** 2 / e;
      cells++;
    }
  });
  // 23 degrees of freedom at most: 49.7 is passed once in a thousand, and the draws are the same every time.
  assert(cells >= 15 && chiSquare < 49.7, `chi-square is ${chiSquare} over ${cells} cells`);
});

bothTest("sample draws exactly the tokens that top-k, top-p and min-p leave", async (sampler) => {
  // Probabilities falling by a fifth: each of the tokens kept is drawn many times in 2048 draws.
  const rng = new Rng(3);
  const ids = Array.from({ length: VOCABULARY }, (_, i) => i).sort(() => rng.uniform() - 0.5);
  const logits = new Float32Array(VOCABULARY);
  ids.forEach((id, rank) => logits[id] = -0.2 * rank);
  for (
    const restriction of [
      { topK: 1 },
      { topK: 5 },
      { topK: 300, topP: 0.5 },
      { topP: 0.6 },
      { topP: 0.001 },
      { topP: 0 },
      { minP: 0.3 },
      { minP: 1 },
      { topK: 8, topP: 0.7, minP: 0.05 },
      { topK: 6, topP: 0.99, minP: 0.5 },
      { topP: 0.55, minP: 0.3 },
      { topK: 4, temperature: 5 },
      { topK: 6, temperature: 0.4 },
      { topK: 20, topP: 0.9, temperature: 0.5 },
      { topP: 0.9, temperature: 0.5 },
    ]
  ) {
    const draw = { ...free, ...restriction };
    const expected = samplingOracle(logits, draw);
    const support = [...expected.keys()].filter((id) => expected[id] > 0).sort((a, b) => a - b);
    const drawn = [...new Set(await sampler.drawMany(logits, draw, 2048))].sort((a, b) => a - b);
    assertEquals(drawn, support, JSON.stringify(restriction));
  }
});

bothTest("sample keeps ties at the edge of top-k", async (sampler) => {
  const logits = new Float32Array(VOCABULARY).fill(-3);
  [4, 44, 144].forEach((id) => logits[id] = 1);
  logits[200] = 2;
  const drawn = new Set(await sampler.drawMany(logits, { ...free, topK: 2 }, 512));
  assertEquals([...drawn].sort((a, b) => a - b), [4, 44, 144, 200]);
});

bothTest(
  "sample depends on seed and index, and not on the row or its neighbours",
  async (sampler) => {
    const logits = new Rng(4).normals(VOCABULARY, 0.5);
    const draw = { ...free, seed: 123456789, index: 7, topK: 200, topP: 0.95 };
    const [alone] = await sampler.sample([{ logits, draw }]);
    const rows = Array.from({ length: 40 }, (_, i) => ({
      logits: i === 17 ? logits : new Rng(100 + i).normals(VOCABULARY, 2),
      draw: i === 17 ? { ...draw, slot: 30 } : { ...free, seed: i, index: 7, slot: i },
    }));
    assertEquals((await sampler.sample(rows))[17], alone);
    const seeds = await sampler.sample(
      Array.from({ length: 64 }, (_, i) => ({ logits, draw: { ...draw, seed: 4294967295 - i } })),
    );
    assert(new Set(seeds).size > 30, "other seeds draw other tokens");
    const indices = await sampler.drawMany(logits, draw, 64);
    assert(new Set(indices).size > 30, "other indices draw other tokens");
    assertEquals(indices[7], alone);
  },
);

bothTest("sample survives extreme temperatures and logits", async (sampler) => {
  const logits = new Rng(5).normals(VOCABULARY, 2);
  const best = logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  // From cold on the noise no longer matters; the coldest are denormal numbers or round to 0.
  for (const temperature of [1e-4, 1e-20, 1e-38, 1e-40, 1e-44, 1e-46]) {
    const drawn = new Set(await sampler.drawMany(logits, { ...free, temperature }, 16));
    assertEquals([...drawn], [best], `temperature ${temperature}`);
  }
  // Hot: about uniform.
  const hot = new Set(await sampler.drawMany(logits, { ...free, temperature: 1e30 }));
  assert(hot.size > 295, `${hot.size} tokens of ${VOCABULARY} drawn`);
  const huge = new Float32Array(VOCABULARY).fill(-3e38);
  huge[33] = 3e38;
  const masked = new Float32Array(VOCABULARY).fill(-Infinity);
  [5, 6].forEach((id) => masked[id] = 1);
  for (const restriction of [{}, { topK: 3 }, { topK: 40 }, { topP: 0.9 }, { minP: 0.1 }]) {
    const draw = { ...free, ...restriction };
    assertEquals(
      [...new Set(await sampler.drawMany(huge, draw, 16))],
      [33],
      JSON.stringify(restriction),
    );
    const two = [...new Set(await sampler.drawMany(masked, draw, 64))].sort();
    assertEquals(two, [5, 6], JSON.stringify(restriction));
  }
});

bothTest(
  "sample says that no token can be chosen when every logit is NaN or -∞",
  async (sampler) => {
    const { lastSampled } = await sampler.made;
    gpu.buffers.write(lastSampled, 0, Uint32Array.of(3));
    for (const value of [NaN, -Infinity]) {
      for (const draw of [greedy, free, { ...free, topK: 5, topP: 0.5 }]) {
        const logits = new Float32Array(VOCABULARY).fill(value);
        assertEquals(await sampler.sample([{ logits, draw }]), [NONE]);
      }
    }
    assertEquals(new Uint32Array(await readBuffer(gpu, lastSampled, 0, 4))[0], 3);
  },
);

gpuTest("sample finds top-k and top-p in a vocabulary of many rounds of loads (gpu)", async () => {
  const vocabulary = 9001;
  const make = (label: string, bytes: number) => gpu.buffers.storage(label, bytes);
  const logits = new Rng(6).normals(vocabulary, 2);
  // The last two leave more tokens than a list holds.
  const draws = [{ topK: 7 }, { topP: 0.05 }, { topK: 40, topP: 0.3 }, { topP: 0.3, minP: 0.1 }, {
    topK: 700,
  }, { topP: 0.6, temperature: 2 }];
  const rows = 600;
  const buffers = {
    logits: make("logits", rows * vocabulary * 4),
    samples: make("samples", rows * SAMPLE_BYTES),
    sampled: make("sampled", rows * 4),
    lastSampled: make("last sampled", rows * 4),
  };
  const options = { vocabulary, logitsPerRow: vocabulary, buffers, layout: layouts.gpu };
  const call = await createSample(gpu, options);
  for (let row = 0; row < rows; row++) {
    gpu.buffers.write(buffers.logits, row * vocabulary * 4, logits);
  }
  for (const restriction of draws) {
    const draw = { ...free, ...restriction };
    const words = new DataView(new ArrayBuffer(rows * SAMPLE_BYTES));
    for (let i = 0; i < rows; i++) {
      [i, 0, i, 9, draw.topK].forEach((word, j) =>
        words.setUint32(i * SAMPLE_BYTES + j * 4, word, true)
      );
      [draw.temperature, draw.topP, draw.minP].forEach((value, j) =>
        words.setFloat32(i * SAMPLE_BYTES + 20 + j * 4, value, true)
      );
    }
    gpu.buffers.write(buffers.samples, 0, new Uint8Array(words.buffer));
    const pass = new StepPass(gpu);
    pass.dispatch(call, [rows]);
    pass.submit();
    const drawn = new Set(new Uint32Array(await readBuffer(gpu, buffers.sampled)));
    const expected = samplingOracle(logits, draw);
    for (const token of drawn) {
      assert(
        expected[token] > 0,
        `${JSON.stringify(restriction)}: drew ${token}, which is left out`,
      );
    }
    // Tokens that 600 draws miss once in a million.
    expected.forEach((p, token) => {
      if (p * rows > 14) assert(drawn.has(token), `${JSON.stringify(restriction)}: never ${token}`);
    });
  }
});
