import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { dumpedPages, dumpedTokens } from "../../scripts/bench/retrieval/dumped_cache.ts";
import { writeNpy } from "../../src/formats/npy.ts";

const shape = { kvHeads: 2, headDim: 3, paddedHeadDim: 4 };

Deno.test("dumpedPages puts each key where a cache of pages has it, and refuses dumps of another shape", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const tokens = 200;
    const bits = (head: number, token: number, i: number) => 1 + head * 10_000 + token * 10 + i;
    const data = new Uint16Array(2 * tokens * 3);
    for (let at = 0; at < data.length; at++) {
      data[at] = bits(Math.floor(at / 3 / tokens), Math.floor(at / 3) % tokens, at % 3);
    }
    writeNpy(join(folder, "layer5.k.npy"), { type: "float16", shape: [2, tokens, 3], data });
    const pages = dumpedPages(folder, 5, "k", 3, shape);
    assertEquals(pages.length, 3 * 2 * 64 * 4);
    for (const [page, head, slot] of [[0, 0, 0], [0, 1, 63], [2, 0, 1], [2, 1, 63]]) {
      const from = ((page * 2 + head) * 64 + slot) * 4;
      const token = page * 64 + slot;
      const expected = [0, 1, 2].map((i) => bits(head, token, i));
      assertEquals([...pages.subarray(from, from + 4)], [...expected, 0]);
    }
    assertThrows(
      () => dumpedPages(folder, 5, "k", 4, shape),
      RangeError,
      "layer5.k.npy: [2, 200, 3], expected [2, 256 or more, 3]",
    );
    assertThrows(
      () => dumpedPages(folder, 5, "k", 3, { ...shape, kvHeads: 1 }),
      RangeError,
      "expected [1, 192",
    );
    assertThrows(() => dumpedPages(folder, 5, "v", 3, shape), Deno.errors.NotFound);
    writeNpy(join(folder, "tokens.npy"), {
      type: "uint32",
      shape: [2],
      data: Uint32Array.of(7, 70_000),
    });
    assertEquals([...dumpedTokens(folder)], [7, 70_000]);
    writeNpy(join(folder, "tokens.npy"), { type: "int32", shape: [2], data: Int32Array.of(7, 8) });
    assertThrows(() => dumpedTokens(folder), RangeError, "int32 of 1 dimensions");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
