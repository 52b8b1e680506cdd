import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { Linear } from "../../src/kernels/linear.ts";
import type { LinearInput } from "../../src/kernels/linear_variant.ts";
import { createRowScales } from "../../src/kernels/row_scales.ts";
import { SAMPLE_BYTES, StepBuffers } from "../../src/kernels/step_buffers.ts";
import type { WeightFormat } from "../../src/kernels/weight_matrix.ts";
import { finishRow, normalise, type OracleFinish, product, rmsScale } from "../oracle/linear.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { uploadWeights } from "../support/weights_under_test.ts";

const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};
const gpu = gpus.lanes;
/** Enough for the tallest tiles of long steps, the last of them partly filled. */
const MAX_ROWS = 261;
/** Rows compared with f64: the first tiles and the last. The other rows are the same code. */
const checkedRows = [...Array(65).keys(), 254, 255, 256, 257, 258, 259, 260];
/** Both sides of the edges of each family's tiles: 1, 4, 8, 16 and 32 rows; 1, 4, 8 and 32. */
const rowCounts = {
  lanes: [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 48, 49, 65],
  wide: [1, 2, 4, 5, 8, 9, 16, 17, 33, 65],
};
const EPSILON = 1e-5;
/** Factor of what is added to a residual. */
const RESIDUAL_SCALE = 0.22;

/** Whether two products make one element. */
const gated = (finish: OracleFinish) => finish === "swiglu" || finish === "geglu";

interface Case {
  format: WeightFormat;
  input: LinearInput["kind"];
  finish: OracleFinish;
  /** True sizes: what is tested is also their padding. Q8_0 needs K in blocks of 32, K types in blocks of 256. */
  n: number;
  k: number;
  /** Whether rows are multiplied as bytes (wide family only). */
  bytes?: boolean;
}

const cases: Case[] = [
  { format: "f32", input: "plain", finish: "store", n: 75, k: 100 },
  { format: "f16", input: "plain", finish: "residual", n: 130, k: 129 },
  { format: "q8", input: "plain", finish: "store", n: 1, k: 288 },
  { format: "f32", input: "norm", finish: "swiglu", n: 90, k: 61 },
  { format: "f16", input: "sampled", finish: "store", n: 64, k: 200 },
  { format: "q8", input: "norm", finish: "relu2", n: 67, k: 160 },
  { format: "q4", input: "norm", finish: "swiglu", n: 66, k: 256 },
  { format: "f16", input: "norm", finish: "geglu", n: 66, k: 96 },
  { format: "q8g16", input: "plain", finish: "store", n: 65, k: 256 },
  { format: "q8min", input: "plain", finish: "store", n: 70, k: 256 },
  // More than one block of 128 in each of the 8 ranges of k that the wide family adds up, and too few for all ranges.
  { format: "q4", input: "norm", finish: "store", n: 66, k: 1280 },
];

/** Rows of these: more than a tile of them. */
const BYTE_ROWS = 133;
/** Both sides of a tile of columns, one, some and all of the 8 ranges of k, and more of k than a workgroup makes bytes of. */
const byteCases: Case[] = [
  { format: "q8", input: "norm", finish: "swiglu", n: 130, k: 288 },
  { format: "q8g16", input: "norm", finish: "store", n: 65, k: 256 },
  { format: "q8min", input: "plain", finish: "store", n: 70, k: 256 },
  { format: "q4", input: "plain", finish: "residual", n: 3, k: 2304 },
].map((test) => ({ ...test, bytes: true }) as Case);

/** Data of a case, the same for every device and batch. */
function makeData({ n, k }: Case) {
  const rng = new Rng(n * 1000 + k);
  const rows = Array.from({ length: MAX_ROWS }, (_, row) => {
    // Rows of very different sizes, and a few spikes.
    const x = rng.normals(k, 10 ** (row % 5 - 2));
    x[rng.integer(k)] *= 100;
    return x;
  });
  return {
    rows,
    weights: rng.normals(n * k, 0.3),
    gain: rng.normals(k, 1),
    before: rng.normals(4096, 1),
    // Rows to sample, in no order and with a repeat.
    list: Uint32Array.from({ length: MAX_ROWS }, (_, i) => (i * 7) % 60),
  };
}

/** A linear layer of a case on one device, with all its kernels unless it shall not be `whole`. */
async function build(gpu: Gpu, test: Case, long = false, whole = true) {
  const { rows, gain, list, ...data } = makeData(test);
  const { matrix, values } = uploadWeights(gpu, test.format, test.k, data.weights);
  const quadsPerRow = matrix.columns / 4;
  const { buffers } = gpu;
  const x = buffers.storage("x", (MAX_ROWS + 1) * matrix.columns * 4);
  const padded = new Float32Array(matrix.columns);
  padded.set(gain);
  const norm = { buffer: x, quadsPerRow, width: test.k, epsilon: EPSILON };
  const rowScale = buffers.storage("row scales", MAX_ROWS * 4);
  const step = new StepBuffers(gpu, MAX_ROWS, MAX_ROWS, 1);
  const samples = new Uint32Array(MAX_ROWS * SAMPLE_BYTES / 4);
  list.forEach((row, i) => samples[i * SAMPLE_BYTES / 4] = row);
  buffers.write(step.samples, 0, samples);
  const gainBuffer = buffers.upload("gain", padded);
  const bytes = test.bytes
    ? {
      words: buffers.storage("operand", MAX_ROWS * matrix.columns),
      lines: buffers.storage("operand lines", MAX_ROWS * matrix.columns / 4),
      decodeWeights: 0,
    }
    : undefined;
  const input: LinearInput = test.input === "plain"
    ? { kind: "plain", buffer: x, quadsPerRow, bytes }
    : test.input === "norm"
    ? { kind: "norm", ...norm, gain: gainBuffer, rowScale, bytes }
    : { kind: "sampled", ...norm, gain: gainBuffer, rowScale, samples: step.samples };
  const width = gated(test.finish) ? matrix.rows / 2 : matrix.rows;
  const output = buffers.storage("output", (MAX_ROWS + 1) * width * 4);
  const linear = await Linear.create(gpu, {
    label: "under test",
    step: step.step,
    matrix,
    input,
    finish: {
      fragments: ["dense/bias_none", `dense/finish_${test.finish}`],
      bindings: { output },
      constants: {
        OUTPUT_PAIRS_PER_ROW: gated(test.finish) ? width : width / 2,
        ...(test.finish === "residual" ? { RESIDUAL_SCALE } : {}),
      },
      long,
    },
  });
  if (whole) { while (await linear.prepare()); }
  const { buffer, ...rest } = norm;
  const scales = await createRowScales(gpu, { input: buffer, rowScale, ...rest });
  return { linear, scales, matrix, values, width, x, output, step, rows, gain, list, bytes };
}

type Built = Awaited<ReturnType<typeof build>>;

/**
 * Runs the layer on the first `count` rows, of which the last `decodes` decode. What no row may read is NaN; what no row may write
 * is checked.
 */
async function run(
  gpu: Gpu,
  test: Case,
  built: Built,
  count: number,
  decodes = 0,
): Promise<Float32Array> {
  const { matrix, width, x, output, step } = built;
  const { before } = makeData(test);
  const input = new Float32Array(x.size / 4).fill(NaN);
  // The rows listed for sampling lie anywhere; otherwise rows past the count are forbidden.
  const filled = test.input === "sampled" ? MAX_ROWS : count;
  for (let row = 0; row < filled; row++) {
    input.fill(0, row * matrix.columns, (row + 1) * matrix.columns);
    input.set(built.rows[row], row * matrix.columns);
  }
  gpu.buffers.write(x, 0, input);
  const start = Float32Array.from({ length: output.size / 4 }, (_, i) => before[i % before.length]);
  gpu.buffers.write(output, 0, start);
  step.writeCounts({ rows: count, samples: count, decodes });
  const pass = new StepPass(gpu);
  pass.dispatch(built.scales, [test.input === "sampled" ? MAX_ROWS : count]);
  built.linear.record(pass, { rows: count, decodes });
  pass.submit();
  const found = new Float32Array(await readBuffer(gpu, output));
  assertEquals(found.slice(count * width), start.slice(count * width), "rows past the count");
  return found.slice(0, count * width);
}

/** What the oracle says of row `row`, padded with what the finish makes of zero; `bytes` are what its operand is multiplied as, before any norm. */
function expectedRow(
  test: Case,
  built: Built,
  row: number,
  bytes?: ArrayLike<number>,
): Float64Array {
  const { before } = makeData(test);
  const x = built.rows[test.input === "sampled" ? built.list[row] : row];
  const scale = test.input === "plain" ? 1 : rmsScale(x, x.length, EPSILON);
  const operand = bytes
    ? Float64Array.from(bytes, (value) => value * scale)
    : test.input === "plain"
    ? x
    : normalise(x, built.gain, EPSILON);
  const y = new Float64Array(built.matrix.rows);
  y.set(product(built.values, operand));
  const held = Float64Array.from(
    { length: built.width },
    (_, i) => before[(row * built.width + i) % before.length],
  );
  return finishRow(test.finish, y, held, RESIDUAL_SCALE);
}

for (const family of ["lanes", "wide"] as const) {
  for (const test of cases) {
    const { format, n, k, input, finish } = test;
    const name = `${family} kernels, ${format} weights [${n}][${k}], ${input} input, ${finish}`;
    gpuTest(
      `Linear agrees with f64 and gives each row the same bits in any batch: ${name}`,
      async () => {
        const gpu = gpus[family];
        // In the wide family so few columns never meet the kernel of many rows once that of few is prepared, on a discrete GPU.
        const built = await build(gpu, test, false, family === "lanes");
        const { width } = built;
        const prefill = await run(gpu, test, built, MAX_ROWS);
        const decode = await run(gpu, test, built, MAX_ROWS, MAX_ROWS);
        while (await built.linear.prepare());
        for (const row of checkedRows) {
          const expected = expectedRow(test, built, row);
          for (const whole of [prefill, decode]) {
            const found = whole.subarray(row * width, (row + 1) * width);
            assertClose(found, expected, 2e-6, `row ${row}`);
          }
        }
        if (family === "lanes") assertSameBits(decode, prefill, "decode against prefill");
        for (const count of rowCounts[family]) {
          // All prefill, all decode, and some of each.
          for (const decodes of [0, count, Math.floor(count / 3)]) {
            const found = await run(gpu, test, built, count, decodes);
            const edge = (count - decodes) * width;
            const what = `${count} rows, ${decodes} of decode`;
            assertSameBits(found.subarray(0, edge), prefill.subarray(0, edge), what);
            assertSameBits(found.subarray(edge), decode.subarray(edge, count * width), what);
          }
        }
      },
    );
  }
}

/** Rows of prefill as the device holds them, in bytes times their scale: checked against what they stand for. */
async function heldBytes(gpu: Gpu, test: Case, built: Built): Promise<Float64Array[]> {
  const { words, lines } = built.bytes!;
  const codes = new Int8Array(await readBuffer(gpu, words));
  const beside = new Float32Array(await readBuffer(gpu, lines));
  const { columns } = built.matrix;
  return built.rows.slice(0, BYTE_ROWS).map((row, at) => {
    const x = test.input === "plain" ? row : row.map((value, i) => value * built.gain[i]);
    const kept = Float64Array.from(x, (value, i) => {
      const code = codes[at * columns + i];
      const block = (at * columns + i) >> 5;
      const scale = beside[2 * block];
      // Of a half the device may take either neighbour, since its quotients are not exact.
      const off = Math.abs(code * scale - value);
      if (!(off <= 0.5001 * scale)) {
        throw new Error(`row ${at}: ${value} became ${code} of ${scale}`);
      }
      return code * scale;
    });
    for (let first = 0; first < x.length; first += 32) {
      const block = (at * columns + first) >> 5;
      const own = x.slice(first, first + 32);
      const top = Math.max(...own.map(Math.abs));
      assertAlmostEquals(beside[2 * block], top / 127, top * 1e-8);
      const total = kept.slice(first, first + 32).reduce((sum, value) => sum + value, 0);
      assertAlmostEquals(beside[2 * block + 1], total, top * 1e-5);
    }
    return kept;
  });
}

for (const test of byteCases) {
  const { format, n, k, input, finish } = test;
  gpuTest(
    `Linear by bytes agrees with f64 and gives each row the same bits in any batch: ${format} weights [${n}][${k}], ${input} input, ${finish}`,
    async () => {
      const gpu = gpus.wide;
      const built = await build(gpu, test, false, false);
      const { width } = built;
      const prefill = await run(gpu, test, built, BYTE_ROWS);
      const decode = await run(gpu, test, built, BYTE_ROWS, BYTE_ROWS);
      // Short prefill, decode of 4 rows and of 16: this one takes seconds to compile, and does not depend on the format.
      const later = test === byteCases[0] ? 3 : 2;
      for (let i = 0; i < later; i++) assert(await built.linear.prepare());
      const held = await heldBytes(gpu, test, built);
      for (const row of [...Array(33).keys(), 126, 127, 128, 129, BYTE_ROWS - 1]) {
        for (const whole of [prefill, decode]) {
          const found = whole.subarray(row * width, (row + 1) * width);
          assertClose(found, expectedRow(test, built, row, held[row]), 2e-6, `row ${row}`);
          // A spike leaves the others of its block few bits.
          assertClose(found, expectedRow(test, built, row), 5e-2, `row ${row}, not rounded`);
        }
      }
      for (
        const [count, decodes] of [[1, 0], [17, 0], [33, 4], [1, 1], [3, 3], [8, 8], [20, 9], [
          33,
          33,
        ]]
      ) {
        const found = await run(gpu, test, built, count, decodes);
        const edge = (count - decodes) * width;
        const what = `${count} rows, ${decodes} of decode`;
        assertSameBits(found.subarray(0, edge), prefill.subarray(0, edge), what);
        assertSameBits(found.subarray(edge), decode.subarray(edge, count * width), what);
      }
    },
  );
}

gpuTest("Linear by bytes gives no number where its operand holds none", async () => {
  const gpu = gpus.wide;
  const test: Case = { ...byteCases[2], finish: "store" };
  const built = await build(gpu, test);
  built.rows[1][40] = NaN;
  built.rows[2][200] = -Infinity;
  built.rows[3].fill(1e-38);
  const found = await run(gpu, test, built, 5);
  const row = (at: number) => [...found.subarray(at * built.width, at * built.width + test.n)];
  for (const at of [1, 2]) assertEquals(row(at).filter(Number.isFinite), [], `row ${at}`);
  assertEquals(row(3).filter((value) => value !== 0), [], "a row of next to nothing");
  for (const at of [0, 4]) assertEquals(row(at).every(Number.isFinite), true, `row ${at}`);
});

gpuTest(
  "Linear gives the same bits without subgroup operations, and with a finish said to be long",
  async () => {
    using plain = await Gpu.open({ subgroups: false, kernels: "lanes" });
    assertEquals(plain.subgroups, false);
    for (const test of [cases[0], cases[5]]) {
      const usual = await build(gpu, test);
      const long = await build(gpu, test, true);
      const without = await build(plain, test);
      for (const count of [1, 5, 33]) {
        const what = `${test.format}, ${count} rows`;
        const expected = await run(gpu, test, usual, count);
        assertSameBits(await run(plain, test, without, count), expected, what);
        assertSameBits(await run(gpu, test, long, count), expected, `${what}, long`);
      }
    }
  },
);

gpuTest(
  "Linear of many columns gives a decoding row the same bits alone and beside seven others",
  async () => {
    const gpu = gpus.wide;
    const test: Case = { format: "f16", input: "plain", finish: "store", n: 8200, k: 100 };
    const built = await build(gpu, test);
    const { width } = built;
    const decode = await run(gpu, test, built, 9, 9);
    for (let row = 0; row < 9; row++) {
      const found = decode.subarray(row * width, (row + 1) * width);
      assertClose(found, expectedRow(test, built, row), 2e-6, `row ${row}`);
    }
    for (const count of [1, 3]) {
      const found = await run(gpu, test, built, count, count);
      assertSameBits(found, decode.subarray(0, count * width), `${count} rows`);
    }
  },
);

gpuTest("Linear gives the same bits before, while and after kernels are prepared", async () => {
  // A plain and a sampled operand in the lanes family; in the wide one, rows of decode.
  for (const test of [cases[0], ...cases.filter(({ input }) => input !== "plain").slice(0, 2)]) {
    const gpu = gpus.lanes;
    const built = await build(gpu, test, false, false);
    const counts = [1, 3, 5, 9, 17, 33, 60];
    const first: Float32Array[] = [];
    for (const count of counts) first.push(await run(gpu, test, built, count));
    let prepared = 0;
    while (await built.linear.prepare()) {
      prepared++;
      for (const [i, count] of counts.entries()) {
        assertSameBits(await run(gpu, test, built, count), first[i], `${count} rows, ${prepared}`);
      }
    }
    assertEquals(prepared, test.input === "sampled" ? 1 : 2);
  }
  const gpu = gpus.wide;
  const wide = await build(gpu, cases[0], false, false);
  // Rows of decode, and of prompts in tiles of both heights.
  const steps = [[1, 1], [2, 2], [4, 4], [5, 5], [9, 9], [1, 0], [33, 0], [100, 3], [135, 2]];
  const all = async () => {
    const found: Float32Array[] = [];
    for (const [count, decodes] of steps) {
      found.push(await run(gpu, cases[0], wide, count, decodes));
    }
    return found;
  };
  const before = await all();
  let kernels = 0;
  for (; await wide.linear.prepare(); kernels++) {
    (await all()).forEach((found, i) => assertSameBits(found, before[i], `step ${steps[i]}`));
  }
  assertEquals(kernels, 2);
});

gpuTest("a kernel dispatched for a step without rows writes nothing", async () => {
  for (const test of cases.slice(0, 4)) {
    const gpu = gpus.lanes;
    const { linear, step, x, output } = await build(gpu, test, false, false);
    gpu.buffers.write(x, 0, new Float32Array(x.size / 4).fill(1));
    const before = new Float32Array(output.size / 4).fill(7);
    for (let call; (call = await linear.prepare());) {
      gpu.buffers.write(output, 0, before);
      step.writeCounts({ rows: 0, samples: 0, decodes: 0 });
      const pass = new StepPass(gpu);
      pass.dispatch(call, [1]);
      pass.submit();
      assertEquals(new Float32Array(await readBuffer(gpu, output)), before);
    }
  }
});

gpuTest("Linear refuses an operand of another width than its matrix", async () => {
  const { matrix } = uploadWeights(gpu, "f32", 100, new Float32Array(100));
  const buffer = gpu.buffers.storage("x", 1024);
  const step = new StepBuffers(gpu, 1, 1, 1).step;
  const finish = {
    fragments: ["dense/finish_store" as const],
    bindings: { output: buffer },
    constants: { OUTPUT_PAIRS_PER_ROW: 32 },
  };
  await assertRejects(
    () =>
      Linear.create(gpu, {
        label: "narrow",
        step,
        matrix,
        input: { kind: "plain", buffer, quadsPerRow: 25 },
        finish,
      }),
    RangeError,
    "create linear narrow: operand rows are 100 wide, the matrix has 128 columns",
  );
});

gpuTest("row_scales gives 1 / RMS of rows of zeros, of spikes and of tiny numbers", async () => {
  const width = 1100;
  const rows = [
    new Float32Array(width),
    new Float32Array(width).fill(1e-20),
    Float32Array.from({ length: width }, (_, i) => i === 1099 ? 1e6 : 0),
    new Rng(1).normals(width, 3),
  ];
  const input = new Float32Array(rows.length * 1152);
  rows.forEach((row, i) => input.set(row, i * 1152));
  for (const gpu of Object.values(gpus)) {
    const output = gpu.buffers.upload("scales", new Float32Array(rows.length + 4).fill(7));
    const call = await createRowScales(gpu, {
      input: gpu.buffers.upload("rows", input),
      rowScale: output,
      quadsPerRow: 288,
      width,
      epsilon: EPSILON,
    });
    const pass = new StepPass(gpu);
    pass.dispatch(call, [rows.length]);
    pass.submit();
    const found = new Float32Array(await readBuffer(gpu, output));
    rows.forEach((row, i) =>
      assertClose([found[i]], [rmsScale(row, width, EPSILON)], 1e-6, `row ${i}`)
    );
    assertEquals([...found.subarray(rows.length, rows.length + 4)], [7, 7, 7, 7]);
  }
});
