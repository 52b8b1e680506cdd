import { assertEquals } from "@std/assert";
import { cleanBook } from "../../../scripts/eval/lm/clean_book.ts";

Deno.test("cleanBook keeps the body, joins wrapped lines and straightens quotes", () => {
  const raw = [
    "\ufeffThe Project Gutenberg EBook of X",
    "*** START OF THIS PROJECT GUTENBERG EBOOK X ***",
    "",
    "“Call me",
    "_Ishmael_,” he said.",
    "",
    "",
    "It was ‘late’.",
    "*** END OF THIS PROJECT GUTENBERG EBOOK X ***",
    "licence",
  ].join("\r\n");
  assertEquals(cleanBook(raw), "\"Call me Ishmael,\" he said.\n\nIt was 'late'.\n");
});

Deno.test("cleanBook takes a text without markers whole", () => {
  assertEquals(cleanBook("one\ntwo\n\nthree"), "one two\n\nthree\n");
});
