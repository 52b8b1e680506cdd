import { assert, assertEquals, assertThrows } from "@std/assert";
import { Rng } from "../../../src/common/rng.ts";
import { Haystack } from "../../../scripts/eval/lm/haystack.ts";

const words = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
const book = Array.from({ length: 400 }, (_, i) => `Sentence number ${i} ends here.`).join(" ");

Deno.test("Haystack.hide fills up to the asked length and keeps the statements in order", () => {
  const statements = [
    "The first fact is one.",
    "The second fact is two.",
    "The third fact is three.",
  ];
  for (let seed = 0; seed < 20; seed++) {
    const text = new Haystack(book, words).hide(statements, 300, new Rng(seed));
    const places = statements.map((statement) => text.indexOf(statement));
    assert(places.every((place) => place >= 0), text);
    assertEquals(places, places.toSorted((a, b) => a - b));
    assert(words(text) <= 300 && words(text) > 270, `${words(text)} words`);
  }
});

Deno.test("Haystack.hide puts a statement at the asked depth", () => {
  const haystack = new Haystack(book, words);
  for (const depth of [0, 0.25, 0.5, 0.75, 1]) {
    const text = haystack.hide(["The needle is 7"], 500, new Rng(3), [depth]);
    const share = words(text.slice(0, text.indexOf("The needle"))) / (words(text) - 4);
    assert(Math.abs(share - depth) < 0.03, `${share} where ${depth} was asked`);
  }
});

Deno.test("Haystack.hide refuses more text than the book has", () => {
  assertThrows(
    () => new Haystack(book, words).hide([], 10_000, new Rng(1)),
    RangeError,
    "the book has 2000",
  );
});
