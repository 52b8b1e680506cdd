import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { sampled, sampleStride } from "../../src/retrieval/query_sample.ts";

Deno.test("sampled chooses the same positions however a prompt is cut", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.integer({ min: 1, max: 70 }), { maxLength: 12 }),
      (stride, chunks) => {
        let at = 0;
        const positions: number[] = [];
        for (const count of chunks) {
          positions.push(...sampled(at, count, stride).map((i) => at + i));
          at += count;
        }
        assertEquals(positions, sampled(0, at, stride));
        assertEquals(positions.length, Math.ceil(at / stride));
      },
    ),
  );
});

Deno.test("sampleStride keeps enough queries for an index, and no more of a step than its share", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 512, max: 1 << 20 }),
      fc.integer({ min: 1, max: 8 }),
      fc.double({ min: 0.05, max: 1, noNaN: true }),
      (tokens, group, share) => {
        const stride = sampleStride(tokens, group, share);
        assert(1 / stride <= share);
        const queries = Math.ceil(tokens / stride) * group;
        const wanted = Math.min(tokens * group, Math.max(4096, tokens / 16));
        assert(queries >= wanted * 0.99 || stride === Math.ceil(1 / share));
      },
    ),
  );
});
