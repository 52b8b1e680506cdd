import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { byteToChar, charToByte } from "../../src/tokenizer/byte_alphabet.ts";
import { LiteralSet } from "../../src/tokenizer/literal_set.ts";
import { PairMerger } from "../../src/tokenizer/pair_merger.ts";
import { PairTable } from "../../src/tokenizer/pair_table.ts";
import { WordCache } from "../../src/tokenizer/word_cache.ts";
import { naiveMerge } from "../oracle/naive_bpe.ts";

Deno.test("byteToChar is GPT-2's alphabet: printable bytes as they are, the rest from U+0100", () => {
  assertEquals(byteToChar[0x20], "Ġ");
  assertEquals(byteToChar[0x0a], "Ċ");
  assertEquals(byteToChar[0x41], "A");
  assertEquals([byteToChar[0], byteToChar[0x7f], byteToChar[0xad]], ["Ā", "ġ", "Ń"]);
  assertEquals(charToByte.size, 256);
});

Deno.test("naiveMerge follows a worked example", () => {
  const ranks = new Map([["a a", 1], ["b c", 0], ["aa bc", 2]]);
  assertEquals(naiveMerge([..."aaabc"], (l, r) => ranks.get(`${l} ${r}`)), ["aa", "a", "bc"]);
});

Deno.test("PairMerger equals naive merging for any ranks, ties and lengths", () => {
  const merger = new PairMerger();
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 60 }),
      fc.nat(6),
      (text, seed) => {
        // A rank by the text of the pair, equal for many pairs, absent for some.
        const rank = (left: string, right: string) => {
          const hash = [...left + right].reduce(
            (h, c) => (h * 31 + c.charCodeAt(0) + seed) % 1009,
            left.length,
          );
          return left.length + right.length > 7 || hash % 3 === 0 ? undefined : hash % 5;
        };
        const symbols = [...text];
        const out: string[] = [];
        merger.run(symbols.length, {
          rank: (left, right) => rank(symbols[left], symbols[right]) ?? -1,
          merge: (left, right) => symbols[left] += symbols[right],
        }, (at) => out.push(symbols[at]));
        assertEquals(out, naiveMerge([...text], rank));
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("PairMerger works past its kept arrays and again after", () => {
  const merger = new PairMerger();
  for (const length of [10, 10_000, 10]) {
    const lengths = new Array(length).fill(1);
    const out: number[] = [];
    merger.run(length, {
      rank: (left, right) =>
        lengths[left] === lengths[right] && lengths[left] < 4 ? lengths[left] : -1,
      merge: (left, right) => lengths[left] += lengths[right],
    }, (at) => out.push(lengths[at]));
    assertEquals(out.reduce((a, b) => a + b), length);
    assertEquals(out.filter((n) => n !== 4).length, length % 4 === 0 ? 0 : 1);
  }
});

Deno.test("PairTable keeps the first value of a pair and has none for others", () => {
  const pairs = fc.array(fc.tuple(fc.nat(20), fc.nat(20)), { maxLength: 100 });
  fc.assert(
    fc.property(pairs, (list) => {
      const table = new PairTable(list.length);
      const map = new Map<string, number>();
      list.forEach(([left, right], i) => {
        table.add(left, right, i);
        if (!map.has(`${left} ${right}`)) map.set(`${left} ${right}`, i);
      });
      for (let left = -1; left <= 21; left++) {
        for (let right = 0; right <= 21; right++) {
          assertEquals(table.get(left, right), map.get(`${left} ${right}`) ?? -1);
        }
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("WordCache keeps words in use, forgets others, and never grows past two generations", () => {
  const cache = new WordCache(10, 5);
  cache.set("kept", [1]);
  cache.set("longer", [2]);
  assertEquals(cache.get("longer"), undefined);
  for (let i = 0; i < 100; i++) {
    cache.set(`w${i}`, [i]);
    assertEquals(cache.get("kept"), [1]);
  }
  assertEquals(cache.get("w0"), undefined);
  assertEquals(cache.get("w99"), [99]);
});

Deno.test("LiteralSet finds the leftmost literal, the longest there", () => {
  const set = new LiteralSet([["<a>", 1], ["<a>b", 2], ["bc", 3], ["c", 4]]);
  assertEquals(set.find("x<a>bc", 0), { index: 1, literal: "<a>b", id: 2 });
  assertEquals(set.find("x<a>bc", 2), { index: 4, literal: "bc", id: 3 });
  assertEquals(set.find("<a", 0), undefined);
  assertEquals(new LiteralSet([]).find("anything", 0), undefined);
});
