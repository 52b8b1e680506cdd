import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { f16ToNumber } from "../../src/formats/f16.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import type { KvType } from "../../src/kernels/attention_shape.ts";
import { createEmbed } from "../../src/kernels/embed.ts";
import { Linear } from "../../src/kernels/linear.ts";
import { qkvFinish } from "../../src/kernels/qkv_finish.ts";
import { StepBuffers } from "../../src/kernels/step_buffers.ts";
import { type RopeConfig, type YarnOptions, yarnRamp } from "../../src/model/rope_config.ts";
import { ropeFrequency, ropeTable } from "../../src/model/rope_table.ts";
import { assertClose, difference } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { uploadWeights } from "../support/weights_under_test.ts";

const gpu = await openTestGpu();
const HEAD = 64;
const PAGES = 4;
/** What queries are multiplied by. */
const QUERY_SCALE = Math.LOG2E / 8;

/** What RoPE makes of adjacent pairs at a position, by one f64 angle a pair. */
function rotated(
  rope: RopeConfig,
  factors: Float32Array,
  x: Float32Array,
  position: number,
): Float64Array {
  const y = Float64Array.from(x);
  for (let i = 0; i < rope.dimensions; i += 2) {
    const angle = position / rope.scale * rope.base ** (-i / rope.dimensions) / factors[i / 2];
    y[i] = x[i] * Math.cos(angle) - x[i + 1] * Math.sin(angle);
    y[i + 1] = x[i] * Math.sin(angle) + x[i + 1] * Math.cos(angle);
  }
  return y;
}

/** A projection whose query and key are the first 64 elements of a row, and whose value is the last 64. */
async function makeProjection(
  kvType: KvType,
  rope: RopeConfig,
  factors: Float32Array,
  positions: number,
  bias?: Float32Array<ArrayBuffer>,
) {
  const weights = new Float32Array(3 * HEAD * 2 * HEAD);
  for (let row = 0; row < 3 * HEAD; row++) {
    const column = row < 2 * HEAD ? row % HEAD : row - HEAD;
    weights[row * 2 * HEAD + column] = 1;
  }
  const { matrix } = uploadWeights(gpu, "f32", 2 * HEAD, weights);
  const { buffers } = gpu;
  const step = new StepBuffers(gpu, 32, 1, 4096);
  const bytes = PAGES * 64 * HEAD * 4;
  const made = {
    step,
    input: buffers.storage("input", 32 * matrix.columns * 4),
    query: buffers.storage("query", 32 * HEAD * 4),
    keys: buffers.storage("keys", bytes),
    values: buffers.storage("values", bytes),
  };
  const linear = await Linear.create(gpu, {
    label: "projection",
    step: step.step,
    matrix,
    input: { kind: "plain", buffer: made.input, quadsPerRow: matrix.columns / 4 },
    finish: qkvFinish(
      { heads: 1, kvHeads: 1, headDim: HEAD, paddedHeadDim: HEAD, kvType },
      HEAD ** -0.5,
      {
        ...made,
        rope: buffers.upload("rope", ropeTable(rope, HEAD, positions, factors)),
        bias: bias && buffers.upload("bias", bias),
      },
    ),
  });
  while (await linear.prepare());
  return { ...made, linear };
}

type Projection = Awaited<ReturnType<typeof makeProjection>>;

/** Runs rows at `positions`, all of one sequence whose position p lies on page (p / 64) % 4. */
function project(made: Projection, rows: Float32Array[], positions: number[]): void {
  const { step, input, linear } = made;
  rows.forEach((row, i) =>
    gpu.buffers.write(input, i * row.byteLength, row as Float32Array<ArrayBuffer>)
  );
  const words = positions.flatMap((position) => [0, 0, position, 0]);
  gpu.buffers.write(step.rows, 0, Uint32Array.from(words));
  gpu.buffers.write(step.pages, 0, Uint32Array.from({ length: 4096 }, (_, i) => i % PAGES));
  step.writeCounts({ rows: rows.length, samples: 0, decodes: 0 });
  const pass = new StepPass(gpu);
  linear.record(pass, { rows: rows.length, decodes: 0 });
  pass.submit();
}

/** Where a position's key and value start in the cache, in elements. */
const slotOf = (position: number) =>
  (Math.floor(position / 64) % PAGES * 64 + position % 64) * HEAD;

gpuTest(
  "the QKV projection rotates queries and keys exactly at positions up to 131071",
  async () => {
    const rope = { base: 500000, dimensions: 48, scale: 2 };
    const factors = Float32Array.from({ length: 24 }, (_, i) => i > 12 ? 8 : 1);
    const made = await makeProjection("f32", rope, factors, 131072);
    const rng = new Rng(1);
    for (const positions of [[131071], [0, 1, 255], [256, 257, 65535, 65536 + 70]]) {
      const rows = positions.map(() => rng.normals(2 * HEAD));
      project(made, rows, positions);
      const query = new Float32Array(await readBuffer(gpu, made.query));
      const keys = new Float32Array(await readBuffer(gpu, made.keys));
      const values = new Float32Array(await readBuffer(gpu, made.values));
      positions.forEach((position, i) => {
        const at = slotOf(position);
        const expected = rotated(rope, factors, rows[i].slice(0, HEAD), position);
        const what = `position ${position}`;
        assertClose(keys.subarray(at, at + HEAD), expected, 5e-7, `key, ${what}`);
        const scaled = expected.map((x) => x * QUERY_SCALE);
        assertClose(query.subarray(i * HEAD, (i + 1) * HEAD), scaled, 5e-7, `query, ${what}`);
        assertEquals(values.slice(at, at + HEAD), rows[i].slice(HEAD), `value, ${what}`);
        // Dimensions past the rotated ones keep their values.
        assertEquals(keys.slice(at + 48, at + HEAD), rows[i].slice(48, HEAD), what);
      });
    }
  },
);

gpuTest(
  "the QKV projection adds biases before it rotates, whatever the rows of a step",
  async () => {
    const rope = { base: 10000, dimensions: 64, scale: 1 };
    const factors = new Float32Array(32).fill(1);
    const rng = new Rng(4);
    const bias = rng.normals(3 * HEAD);
    const made = await makeProjection("f32", rope, factors, 1024, bias);
    const add = (x: Float32Array, part: number) => x.map((v, i) => v + bias[part * HEAD + i]);
    // One row, tiles of every height.
    for (const count of [1, 3, 8, 16, 32]) {
      const rows = Array.from({ length: count }, () => rng.normals(2 * HEAD));
      const positions = rows.map((_, i) => 130 + i);
      project(made, rows, positions);
      const query = new Float32Array(await readBuffer(gpu, made.query));
      const keys = new Float32Array(await readBuffer(gpu, made.keys));
      const values = new Float32Array(await readBuffer(gpu, made.values));
      rows.forEach((row, i) => {
        const at = slotOf(positions[i]);
        const turn = (part: number) =>
          rotated(rope, factors, add(row.slice(0, HEAD), part), positions[i]);
        const what = `row ${i} of ${count}`;
        const scaled = turn(0).map((x) => x * QUERY_SCALE);
        assertClose(query.subarray(i * HEAD, (i + 1) * HEAD), scaled, 5e-7, `query, ${what}`);
        assertClose(keys.subarray(at, at + HEAD), turn(1), 5e-7, `key, ${what}`);
        assertEquals(values.slice(at, at + HEAD), add(row.slice(HEAD), 2), `value, ${what}`);
      });
    }
  },
);

/** YaRN's frequencies and magnitudes by another implementation: see scripts/golden/logits.py. */
const yarnGolden = JSON.parse(
  Deno.readTextFileSync(new URL("../golden/models/rope_yarn.json", import.meta.url)),
) as {
  dimensions: number;
  base: number;
  factor: number;
  original_max_position_embeddings: number;
  beta_fast?: number;
  beta_slow?: number;
  attention_factor?: number;
  magnitude: number;
  frequencies: number[];
}[];

Deno.test("ropeTable's two rows of a position give YaRN's angles, and its magnitude once", () => {
  for (const golden of yarnGolden) {
    const { dimensions, base, factor, frequencies, magnitude } = golden;
    const options: YarnOptions = {
      factor,
      originalContext: golden.original_max_position_embeddings,
      betaFast: golden.beta_fast,
      betaSlow: golden.beta_slow,
      magnitude: golden.attention_factor,
    };
    const rope = { base, dimensions, scale: factor, yarn: yarnRamp(base, dimensions, options) };
    const found = frequencies.map((_, pair) => ropeFrequency(rope, pair));
    // The other side computes in f32.
    found.forEach((value, pair) =>
      assert(Math.abs(value / frequencies[pair] - 1) < 1e-6, `${factor}, pair ${pair}: ${value}`)
    );
    // Two pairs that are not rotated, as of a head that is rotated in part.
    const pairs = dimensions / 2 + 2;
    const table = ropeTable(rope, 2 * pairs, 40000);
    for (const position of [0, 5, 300, 39999]) {
      for (let pair = 0; pair < pairs; pair++) {
        const [c, s] = table.subarray((position % 256 * pairs + pair) * 2);
        const coarse = 256 + Math.floor(position / 256);
        const [cc, ss] = table.subarray((coarse * pairs + pair) * 2);
        const [length, angle] = pair < dimensions / 2
          ? [magnitude, position * found[pair]]
          : [1, 0];
        const expected = [length * Math.cos(angle), length * Math.sin(angle)];
        const { worst } = difference([c * cc - s * ss, c * ss + s * cc], expected);
        assert(worst < 3e-7, `${factor}, position ${position}, pair ${pair}: ${worst}`);
      }
    }
  }
});

Deno.test("ropeTable's two rows of a position give its angle to 2e-7", () => {
  const rope = { base: 10000, dimensions: 64, scale: 1 };
  const table = ropeTable(rope, 64, 131072);
  let worst = 0;
  for (let position = 0; position < 131072; position += 997) {
    const [fine, coarse] = [position % 256, 256 + Math.floor(position / 256)];
    for (let pair = 0; pair < 32; pair++) {
      const [c, s] = table.subarray((fine * 32 + pair) * 2);
      const [cc, ss] = table.subarray((coarse * 32 + pair) * 2);
      const angle = position * 10000 ** (-pair / 32);
      const found = [c * cc - s * ss, c * ss + s * cc];
      worst = Math.max(worst, difference(found, [Math.cos(angle), Math.sin(angle)]).worst);
    }
  }
  assert(worst < 2e-7, `worst is ${worst}`);
});

gpuTest(
  "the QKV projection never stores an infinity in an f16 page, which its next owner would multiply by 0",
  async () => {
    const rope = { base: 10000, dimensions: 64, scale: 1 };
    const made = await makeProjection("f16", rope, new Float32Array(32).fill(1), 256);
    const row = new Rng(2).normals(2 * HEAD);
    [0, 7, 64, 100].forEach((i) => row[i] = i % 2 ? -1e6 : 1e6);
    project(made, [row], [3]);
    const read = async (buffer: GPUBuffer) =>
      Float64Array.from(new Uint16Array(await readBuffer(gpu, buffer)), f16ToNumber)
        .slice(slotOf(3), slotOf(3) + HEAD);
    for (const found of [await read(made.keys), await read(made.values)]) {
      assert(found.every(Number.isFinite), found.join());
    }
    const values = await read(made.values);
    assertEquals([values[0], values[36]], [65504, 65504]);
    assertClose(values.slice(1, 36), row.subarray(HEAD + 1, HEAD + 36), 1e-3);
  },
);

gpuTest("embed looks tokens up, also those sampled last, in every weight format", async () => {
  const vocabulary = 70;
  const width = 96;
  for (const format of ["f32", "f16", "q8"] as const) {
    const { matrix, values } = uploadWeights(
      gpu,
      format,
      width,
      new Rng(3).normals(vocabulary * width),
    );
    const step = new StepBuffers(gpu, 8, 1, 1);
    const last = 0xffffffff;
    const rows = [[0, 0], [69, 1], [last, 2], [33, 3], [last, 0]];
    const words = rows.flatMap(([token, slot]) => [token, slot, 0, 0]);
    gpu.buffers.write(step.rows, 0, Uint32Array.from(words));
    const output = gpu.buffers.upload("output", new Float32Array(6 * 128).fill(9));
    const call = await createEmbed(gpu, {
      matrix,
      firstToken: 0,
      step: step.step,
      rows: step.rows,
      lastSampled: gpu.buffers.upload("last", Uint32Array.of(68, 0, 1)),
      output,
      quadsPerRow: 32,
      scale: 2,
    });
    const pass = new StepPass(gpu);
    pass.dispatch(call, [rows.length]);
    pass.submit();
    const found = new Float32Array(await readBuffer(gpu, output));
    [0, 69, 1, 33, 68].forEach((token, i) => {
      const padded = new Float32Array(128);
      padded.set(values.subarray(token * width, (token + 1) * width));
      const doubled = padded.map((x) => 2 * x);
      assertEquals(found.slice(i * 128, (i + 1) * 128), doubled, `${format}, row ${i}`);
    });
    assertEquals(found.slice(5 * 128), new Float32Array(128).fill(9));
  }
});
