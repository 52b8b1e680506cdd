import { assertEquals } from "@std/assert";
import { decodeGroup, largeBlockRows, SMALL_BLOCK_ROWS } from "../../src/kernels/attention.ts";
import type { AttentionShape, KvType } from "../../src/kernels/attention_shape.ts";
import { paddedHeadDim } from "../../src/model/weights.ts";
import { AttentionScene, type SceneRow } from "../support/attention_scene.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};

/** Both sides of every edge between the first pages, and of the wide family's spans of 256 keys. */
const lengths = [1, 63, 64, 65, 127, 128, 129, 256, 257, 1100];

function shapeOf(
  heads: number,
  kvHeads: number,
  headDim: number,
  kvType: KvType,
): AttentionShape {
  // One quad more than needed between rows: the space must stay untouched.
  const outputRowQuads = heads * headDim / 4 + 1;
  return { heads, kvHeads, headDim, paddedHeadDim: paddedHeadDim(headDim), outputRowQuads, kvType };
}

/** Cuts each sequence's rows into blocks of at most `rows`. */
function cut(sequences: SceneRow[][], rows: number): SceneRow[][] {
  return sequences.flatMap((all) =>
    Array.from(
      { length: Math.ceil(all.length / rows) },
      (_, i) => all.slice(i * rows, (i + 1) * rows),
    )
  );
}

const keyOf = ({ sequence, position }: SceneRow) => `sequence ${sequence}, position ${position}`;

for (const family of ["lanes", "wide"] as const) {
  for (
    const [shape, spread] of [
      [shapeOf(2, 2, 8, "f32"), 1],
      [shapeOf(4, 2, 16, "f16"), 25],
      [shapeOf(3, 1, 64, "f16"), 1],
      [shapeOf(7, 1, 80, "f32"), 25],
      [shapeOf(16, 1, 128, "f16"), 5],
    ] as const
  ) {
    const { heads, kvHeads, headDim, kvType } = shape;
    const what = `${family} kernels, ${heads} heads of ${headDim} on ${kvHeads}, ${kvType} cache`;
    gpuTest(
      `Attention agrees with f64 across page edges, and a row's bits do not depend on its block: ${what}`,
      async () => {
        const gpu = gpus[family];
        const scene = new AttentionScene(gpu, shape, lengths, spread);
        const attention = await scene.attention();
        // Scores of spread 25 reach 80 and more: their rounding alone is 1e-5 of a weight.
        const bound = spread > 10 ? 3e-5 : 3e-6;
        const tall = largeBlockRows(gpu, shape.paddedHeadDim);
        const blocks = cut(scene.lastRows(heads > 8 ? tall + 1 : 40), tall);
        const rows = blocks.flat();
        const prefill = new Map<string, Float32Array>();
        (await scene.run(attention, { large: blocks })).forEach((found, i) => {
          prefill.set(keyOf(rows[i]), found);
          // The oracle is slow: of long sequences and many heads it sees the last row only.
          const last = rows[i].position === lengths[rows[i].sequence] - 1;
          if (!last && (rows[i].position > 200 || heads > 8)) return;
          assertClose(found, scene.expected(rows[i]), bound, keyOf(rows[i]));
        });

        const ends = scene.lastRows(1).flat();
        const decode = await scene.run(attention, { decodes: ends });
        ends.forEach((row, i) => {
          const same = prefill.get(keyOf(row))!;
          if (family === "lanes") assertSameBits(decode[i], same, `decode, ${keyOf(row)}`);
          else assertClose(decode[i], scene.expected(row), bound, `decode, ${keyOf(row)}`);
        });

        // Small blocks of several heights, in one step with decoding rows.
        for (const size of family === "wide" ? [7] : [1, 7, SMALL_BLOCK_ROWS]) {
          const small = cut(scene.lastRows(20), size);
          const found = await scene.run(attention, { small, decodes: ends });
          small.flat().forEach((row, i) => {
            const same = prefill.get(keyOf(row));
            if (same) assertSameBits(found[i], same, `blocks of ${size}, ${keyOf(row)}`);
          });
          decode.forEach((same, i) => {
            assertSameBits(found[small.flat().length + i], same, `decode beside blocks of ${size}`);
          });
        }
      },
    );
  }
}

for (const family of ["lanes", "wide"] as const) {
  for (
    const [shape, sliding] of [
      [shapeOf(2, 2, 8, "f32"), 1],
      [shapeOf(4, 2, 16, "f16"), 63],
      [shapeOf(3, 1, 64, "f16"), 100],
      [shapeOf(2, 1, 256, "f32"), 64],
      [shapeOf(16, 1, 128, "f16"), 512],
      [shapeOf(2, 1, 80, "f16"), 5000],
    ] as const
  ) {
    const { heads, kvHeads, headDim, kvType } = shape;
    gpuTest(
      `Attention to a sliding window of ${sliding} agrees with f64, and a row's bits do not depend on its block: ` +
        `${family} kernels, ${heads} heads of ${headDim} on ${kvHeads}, ${kvType} cache`,
      async () => {
        const gpu = gpus[family];
        // Windows that begin before, at and behind edges of pages, of rounds and of spans of 256 and of 1,024 keys.
        const ends = [1, 64, 65, 163, 164, 700, 1100, 1350, 2100];
        const scene = new AttentionScene(gpu, shape, ends, 5, undefined, sliding);
        const attention = await scene.attention();
        const tall = largeBlockRows(gpu, shape.paddedHeadDim);
        const blocks = cut(scene.lastRows(tall + 3), tall);
        const rows = blocks.flat();
        const alike = new Map<string, Float32Array>();
        (await scene.run(attention, { large: blocks })).forEach((found, i) => {
          alike.set(keyOf(rows[i]), found);
          if (i % 3 === 0) assertClose(found, scene.expected(rows[i]), 5e-6, keyOf(rows[i]));
        });
        const last = scene.lastRows(1).flat();
        const small = cut(scene.lastRows(11), 7);
        const found = await scene.run(attention, { small, decodes: last });
        small.flat().forEach((row, i) => {
          assertSameBits(found[i], alike.get(keyOf(row))!, `blocks of 7, ${keyOf(row)}`);
        });
        last.forEach((row, i) => {
          const decoded = found[small.flat().length + i];
          assertClose(decoded, scene.expected(row), 5e-6, `decode, ${keyOf(row)}`);
          if (family === "lanes") assertSameBits(decoded, alike.get(keyOf(row))!, keyOf(row));
        });
        for (const [i, row] of last.entries()) {
          const [alone] = await scene.run(attention, { decodes: [row] });
          assertSameBits(alone, found[small.flat().length + i], `decode alone, ${keyOf(row)}`);
        }
      },
    );
  }
}

gpuTest(
  "Attention in decode joins more spans than threads take at once: wide kernels",
  async () => {
    // 24 spans of heads of 64, of which 16 are joined at a time, and 7 of heads of 256, of which 4 are.
    for (
      const [shape, length] of [[shapeOf(2, 1, 8, "f16"), 6001], [
        shapeOf(2, 1, 256, "f32"),
        1601,
      ]] as const
    ) {
      const scene = new AttentionScene(gpus.wide, shape, [length, 300], 5);
      const ends = scene.lastRows(1).flat();
      const found = await scene.run(await scene.attention(), { decodes: ends });
      ends.forEach((row, i) => assertClose(found[i], scene.expected(row), 3e-6, keyOf(row)));
    }
  },
);

gpuTest(
  "Attention in prefill gives the same bits whether spans of the context are split or not: wide kernels",
  async () => {
    for (
      const shape of [
        shapeOf(2, 1, 16, "f16"),
        shapeOf(1, 1, 128, "f16"),
        shapeOf(1, 1, 256, "f32"),
      ]
    ) {
      // Blocks before, across and behind the edges of spans of 1,024 keys.
      const scene = new AttentionScene(gpus.wide, shape, [1030, 1024, 2100, 700], 5);
      const attention = await scene.attention();
      // Few rows a step: partial results of more would not fit.
      for (const rows of scene.lastRows(30)) {
        const blocks = { large: [rows.slice(0, 27)], small: [rows.slice(27)] };
        const split = await scene.run(attention, blocks);
        // Both kinds of blocks, and the merge where there is more than one span.
        assertEquals(scene.dispatches, rows.at(-1)!.position < 1024 ? 2 : 3);
        const whole = await scene.run(attention, { ...blocks, whole: true });
        assertEquals(scene.dispatches, 2);
        rows.forEach((row, i) => {
          assertSameBits(split[i], whole[i], keyOf(row));
          const last = row.position === scene.lengths[row.sequence] - 1;
          if (last) assertClose(whole[i], scene.expected(row), 1e-5, keyOf(row));
        });
      }
    }
  },
);

Deno.test("decodeGroup shares a key/value head among at most 8 of its query heads, evenly", () => {
  const groups = [1, 2, 3, 7, 8, 9, 11, 16, 24].map((ratio) =>
    decodeGroup(shapeOf(2 * ratio, 2, 64, "f16"))
  );
  assertEquals(groups, [1, 2, 3, 7, 8, 3, 1, 8, 8]);
});
