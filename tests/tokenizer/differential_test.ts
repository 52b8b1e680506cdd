import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { byteToChar } from "../../src/tokenizer/byte_alphabet.ts";
import { pretokenizer, pretokenizerNames } from "../../src/tokenizer/pretokenize.ts";
import { spaceMark } from "../../src/tokenizer/vocab.ts";
import { naiveBpe, naiveSpm } from "../oracle/naive_bpe.ts";
import { bpeGolden, bpeTokenizer, spmGolden, spmTokenizer } from "./fixtures.ts";

/** Strings rich in what tokenizers trip over: words of the corpus, spaces of all kinds, digits, other planes. */
const hardText = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        "the",
        " rain",
        " sparrow",
        "ing",
        "'s",
        "It",
        "HTML",
        "雨",
        "дождь",
        "e\u0301",
      ),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        " ",
        "  ",
        "    ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u0085",
        "\ufeff",
        "▁",
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom("0", "12", "3456", "½", ".", "!?", "--", "'", "<|", "$"),
    },
    { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom("ab".repeat(30), " ".repeat(50), "=".repeat(33), "🐦👩‍👩‍👧"),
    },
  ),
  { maxLength: 20 },
).map((parts) => parts.join(""));

Deno.test("Tokenizer's byte-level BPE equals merging by definition", () => {
  const tokenizer = bpeTokenizer();
  const ids = new Map(bpeGolden.tokens.map((token, id) => [token, id]));
  const words = pretokenizer("gpt-2");
  fc.assert(
    fc.property(hardText, (text) => {
      const expected: number[] = [];
      words.split(text, (word) => {
        const spelled = [...new TextEncoder().encode(word)].map((byte) => byteToChar[byte]).join(
          "",
        );
        for (const token of naiveBpe(spelled, bpeGolden.merges)) expected.push(ids.get(token)!);
      });
      assertEquals(
        tokenizer.encode(text),
        [tokenizer.bosId!, ...expected].slice(tokenizer.addBos ? 0 : 1),
      );
    }),
    { numRuns: 300 },
  );
});

Deno.test("Tokenizer's SentencePiece equals merging by definition over the whole text", () => {
  const tokenizer = spmTokenizer();
  const scores = new Map<string, number>();
  spmGolden.tokens.forEach((token, id) => {
    if (spmGolden.types[id] === 1) scores.set(token, spmGolden.scores[id]);
  });
  fc.assert(
    fc.property(hardText.filter((t) => t !== ""), (text) => {
      const pieces = naiveSpm((" " + text).replaceAll(" ", spaceMark), scores);
      const expected = pieces.flatMap((piece) => {
        const id = tokenizer.vocab.ids.get(piece);
        if (id !== undefined && scores.has(piece)) return [spmGolden.tokens[id]];
        const bytes = [...new TextEncoder().encode(piece)];
        return bytes.map((b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
      });
      const ids = tokenizer.encode(text, { addBos: false });
      assertEquals(ids.map((id) => spmGolden.tokens[id]), expected);
    }),
    { numRuns: 300 },
  );
});

Deno.test("Tokenizer decodes what it encoded, whole and streamed", () => {
  const same = (text: string) => text;
  const tokenizers = [
    { tokenizer: spmTokenizer(), form: (text: string) => text.replaceAll("▁", " ") },
    ...pretokenizerNames.map((name) => ({
      tokenizer: bpeTokenizer({ "tokenizer.ggml.pre": name }),
      form: pretokenizer(name).composes ? (text: string) => text.normalize("NFC") : same,
    })),
  ];
  fc.assert(
    fc.property(hardText, fc.nat(), (text, pick) => {
      const { tokenizer, form } = tokenizers[pick % tokenizers.length];
      const expected = form(text);
      const ids = tokenizer.encode(text);
      assertEquals(tokenizer.decode(ids), expected);
      const decoder = tokenizer.streamDecoder();
      let streamed = "";
      for (const id of ids) {
        const piece = decoder.push(id);
        assertEquals(piece.isWellFormed(), true);
        streamed += piece;
      }
      assertEquals(streamed + decoder.flush(), expected);
    }),
    { numRuns: 500 },
  );
});

Deno.test("pretokenizer: the words of every scheme concatenate to the text", () => {
  const schemes = pretokenizerNames.map((name) => pretokenizer(name));
  fc.assert(
    fc.property(hardText, fc.nat(), (text, pick) => {
      const words: string[] = [];
      schemes[pick % schemes.length].split(text, (word) => words.push(word));
      assertEquals(words.join(""), text);
      assertEquals(words.includes(""), false);
    }),
    { numRuns: 500 },
  );
});
