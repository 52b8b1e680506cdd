import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { sharedTiles } from "../../src/kernels/attention.ts";
import { splitConstants } from "../../src/kernels/attention_parts.ts";
import type { AttentionShape, KvType } from "../../src/kernels/attention_shape.ts";
import { paddedHeadDim } from "../../src/model/weights.ts";
import { AttentionScene, type SceneBlock, type SceneFork } from "../support/attention_scene.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpus = {
  "lanes": await openTestGpu({ kernels: "lanes" }),
  "lanes without subgroups": await openTestGpu({ kernels: "lanes", subgroups: false }),
  "wide": await openTestGpu({ kernels: "wide" }),
};

/** Pages of each of two prefixes: four and two spans of the wide family. */
const PREFIXES = [16, 8];

function shapeOf(
  heads: number,
  kvHeads: number,
  headDim: number,
  kvType: KvType,
): AttentionShape {
  const outputRowQuads = heads * headDim / 4 + 1;
  return { heads, kvHeads, headDim, paddedHeadDim: paddedHeadDim(headDim), outputRowQuads, kvType };
}

/**
 * Two prefixes, seven rows that go on from the first, four from the second, and two of their own: ends right after the prefix, at
 * the edges of pages and spans, and beyond.
 */
function sceneOf(gpu: typeof gpus[keyof typeof gpus], shape: AttentionShape, spread: number) {
  const lengths = PREFIXES.map((pages) => pages * 64);
  const forks = new Map<number, SceneFork>();
  for (const [of, ends] of [[1, 63, 64, 65, 1, 2, 127], [1, 64, 70, 129]].entries()) {
    for (const end of ends) {
      forks.set(lengths.length, { of, pages: PREFIXES[of] });
      lengths.push(PREFIXES[of] * 64 + end);
    }
  }
  lengths.push(1, 65);
  return new AttentionScene(gpu, shape, lengths, spread, forks);
}

const shapes: [shape: AttentionShape, spread: number][] = [
  [shapeOf(6, 2, 64, "f16"), 5],
  [shapeOf(2, 2, 8, "f32"), 1],
  [shapeOf(4, 2, 16, "f16"), 25],
  [shapeOf(2, 1, 80, "f32"), 25],
  [shapeOf(8, 1, 128, "f16"), 5],
  [shapeOf(2, 2, 256, "f16"), 5],
];

for (const family of Object.keys(gpus) as (keyof typeof gpus)[]) {
  // Without subgroups everything takes four times as long, and only the exchange of values differs.
  for (
    const [shape, spread] of family === "lanes without subgroups" ? shapes.slice(0, 1) : shapes
  ) {
    const { heads, kvHeads, headDim, kvType } = shape;
    gpuTest(
      `Attention gives a decoding row the same bits whoever it shares pages with: ${family} kernels, ` +
        `${heads} heads of ${headDim} on ${kvHeads}, ${kvType} cache`,
      async () => {
        const scene = sceneOf(gpus[family], shape, spread);
        const attention = await scene.attention();
        const tiles = sharedTiles(gpus[family], shape, scene.contextPages);
        const decodes = scene.lastRows(1).flat().slice(2);
        const alone = await scene.run(attention, { decodes });
        decodes.forEach((row, i) =>
          assertClose(alone[i], scene.expected(row), spread > 10 ? 3e-5 : 6e-6, `row ${i}`)
        );
        if (tiles.rows.length === 0) {
          // 8 heads on one: what a workgroup takes of one row is all it can hold.
          assert(heads / kvHeads >= 8);
          return;
        }
        const rng = new Rng(heads * headDim);
        for (let round = 0; round < 6; round++) {
          // Runs of rows that have a prefix in common are cut at random into blocks, rows alone, and blocks of fewer pages than are common.
          const shared: SceneBlock[] = [];
          for (const [from, to, pages] of [[0, 7, PREFIXES[0]], [7, 11, PREFIXES[1]]]) {
            for (let first = from; first < to;) {
              const kind = rng.integer(tiles.rows.length);
              const rows = Math.min(1 + rng.integer(tiles.rows[kind]), to - first);
              const units = 1 + rng.integer(pages / tiles.pages);
              if (rng.uniform() < 0.7) {
                shared.push({ kind, first, rows, pages: units * tiles.pages });
              }
              first += rows;
            }
          }
          const small = round % 3 === 0 ? scene.lastRows(3).slice(0, 2) : [];
          const found = await scene.run(attention, { small, decodes, shared });
          const what = `round ${round}, ${JSON.stringify(shared)}`;
          decodes.forEach((_, i) =>
            assertSameBits(found[small.flat().length + i], alone[i], `${what}, row ${i}`)
          );
        }
      },
    );
  }
}

gpuTest("sharedTiles offers blocks of at least two rows that fit the device", () => {
  for (const gpu of Object.values(gpus)) {
    for (const [heads, headDim] of [[1, 64], [3, 64], [4, 128], [8, 128], [8, 256], [32, 64]]) {
      const shape = shapeOf(heads, 1, headDim, "f16");
      const tiles = sharedTiles(gpu, shape, 100);
      for (const rows of tiles.rows) {
        assert(rows >= 2);
        if (gpu.kernels === "wide") {
          const queries = rows * tiles.queries;
          const { KEYS, TILE_QUADS } = splitConstants(queries);
          // Queries, scores or sums, maxima, page numbers.
          const bytes = queries * (4 * headDim + 64) + TILE_QUADS * 16 + KEYS / 16;
          assert(bytes <= gpu.device.limits.maxComputeWorkgroupStorageSize, `${bytes}`);
        }
      }
      assertEquals(tiles.groups * tiles.queries, heads);
      assertEquals(tiles.rows, [...tiles.rows].sort((a, b) => b - a));
    }
  }
});
