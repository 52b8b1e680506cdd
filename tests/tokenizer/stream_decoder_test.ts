import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { bpeTokenizer, spmGolden, spmTokenizer } from "./fixtures.ts";

/** The golden SentencePiece tokens of single bytes. */
const byteId = (byte: number) =>
  spmGolden.tokens.indexOf(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

Deno.test("StreamDecoder holds back bytes until they make a code point", () => {
  const decoder = spmTokenizer().streamDecoder();
  const pieces = [...new TextEncoder().encode("é🐦x")].map((byte) => decoder.push(byteId(byte)));
  assertEquals(pieces, ["", "é", "", "", "", "🐦", "x"]);
  assertEquals(decoder.flush(), "");
});

Deno.test("StreamDecoder turns bytes that can make no code point into U+FFFD, as soon as that is certain", () => {
  const decoder = spmTokenizer().streamDecoder();
  const push = (...bytes: number[]) => bytes.map((byte) => decoder.push(byteId(byte)));
  // 0xE2 0x82 may still become a character; 0x41 settles that it does not, and is itself text.
  assertEquals(push(0xe2, 0x82, 0x41), ["", "", "\ufffdA"]);
  assertEquals(push(0xff, 0x80), ["\ufffd", "\ufffd"]);
  assertEquals(push(0xf0, 0x9f), ["", ""]);
  assertEquals(decoder.flush(), "\ufffd");
});

Deno.test("StreamDecoder makes no text of ids past the vocabulary, as models with padded embeddings choose", () => {
  for (const tokenizer of [bpeTokenizer(), spmTokenizer()]) {
    const [the] = tokenizer.encode("the", { addBos: false });
    for (const special of [false, true]) {
      const decoder = tokenizer.streamDecoder({ special });
      const ids = [tokenizer.size, the, tokenizer.size + 100];
      assertEquals(ids.map((id) => decoder.push(id)), ["", tokenizer.decode([the]), ""]);
      assertEquals(decoder.flush(), "");
    }
    assertThrows(() => tokenizer.decode([the, tokenizer.size]), RangeError, "token id");
  }
});

Deno.test("StreamDecoder gives the whole decoder's text for any tokens, always well-formed", () => {
  for (const tokenizer of [bpeTokenizer(), spmTokenizer()]) {
    const anyIds = fc.array(fc.nat(tokenizer.size - 1), { maxLength: 60 });
    fc.assert(fc.property(anyIds, (ids) => {
      const decoder = tokenizer.streamDecoder();
      const pieces = ids.map((id) => decoder.push(id));
      pieces.push(decoder.flush());
      assertEquals(pieces.every((piece) => piece.isWellFormed()), true);
      assertEquals(pieces.join(""), tokenizer.decode(ids));
      const bytes = ids.flatMap((id) => [...tokenizer.vocab.bytes(id)]);
      const strip = tokenizer.vocab.kind === "spm" && bytes[0] === 0x20 ? 1 : 0;
      const expected = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
        Uint8Array.from(bytes.slice(strip)),
      );
      assertEquals(pieces.join(""), expected);
    }));
  }
});

Deno.test("StreamDecoder drops SentencePiece's leading space where a text starts, not where one goes on", () => {
  const tokenizer = spmTokenizer();
  const the = tokenizer.vocab.ids.get("▁the")!;
  const first = (after?: number) => tokenizer.streamDecoder({ after }).push(the);
  assertEquals(first(), "the");
  assertEquals(first(tokenizer.bosId), "the");
  assertEquals(first(the), " the");
  const decoder = tokenizer.streamDecoder();
  assertEquals([tokenizer.bosId!, the, the].map((id) => decoder.push(id)), ["", "the", " the"]);
});

Deno.test("StreamDecoder keeps a byte order mark and starts afresh after flush", () => {
  const tokenizer = bpeTokenizer();
  const decoder = tokenizer.streamDecoder();
  const ids = tokenizer.encode("\ufeffa");
  assertEquals(ids.map((id) => decoder.push(id)).join("") + decoder.flush(), "\ufeffa");
  assertEquals(ids.map((id) => decoder.push(id)).join("") + decoder.flush(), "\ufeffa");
});
