import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { GgufMetadata } from "../../src/formats/gguf_metadata.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import {
  bpeGolden,
  bpeMetadata,
  bpeTokenizer,
  spmGolden,
  spmMetadata,
  spmTokenizer,
} from "./fixtures.ts";

const [bos, imStart, imEnd, user] = [0, 1, 2, 3].map((i) => bpeGolden.tokens.length + i);

Deno.test("Tokenizer.encode keeps control tokens in text as text unless special is asked for", () => {
  const tokenizer = bpeTokenizer();
  const text = "<|im_start|>a<|im_end|>";
  const plain = tokenizer.encode(text);
  assertEquals(plain.includes(imStart) || plain.includes(imEnd), false);
  assertEquals(tokenizer.decode(plain), text);
  const special = tokenizer.encode(text, { special: true });
  assertEquals([special[0], special.at(-1)], [imStart, imEnd]);
});

Deno.test("Tokenizer.encode always takes user-defined tokens, longest first", () => {
  const tokenizer = bpeTokenizer();
  assertEquals(tokenizer.encode("<|user|><|user|>"), [user, user]);
  const nested = spmTokenizer();
  assertEquals(nested.encode("<tool_call>", { addBos: false }), [
    nested.vocab.ids.get("<tool_call>"),
  ]);
  assertEquals(nested.encode("<tool>", { addBos: false }), [nested.vocab.ids.get("<tool>")]);
});

Deno.test("Tokenizer.encode adds the beginning token when metadata asks and the caller does not decline", () => {
  assertEquals(bpeTokenizer().encode("")[0], undefined);
  const asking = bpeTokenizer({ "tokenizer.ggml.add_bos_token": true });
  assertEquals(asking.encode(""), [bos]);
  assertEquals(asking.encode("", { addBos: false }), []);
  assertEquals(bpeTokenizer({ "tokenizer.ggml.pre": "llama-bpe" }).encode(""), [bos]);
  assertEquals(spmTokenizer().encode(""), [1]);
});

Deno.test("Tokenizer does not put a second beginning token before one that is there", () => {
  const spm = spmTokenizer();
  const ids = spm.encode("the the");
  assertEquals(ids[0], spm.bosId);
  assertEquals(spm.encodeParts([{ type: "tokens", ids }]), ids);
  assertEquals(spm.encodeParts([{ type: "tokens", ids: ids.slice(1) }]), ids);
});

Deno.test("Tokenizer.encode gives SentencePiece's space prefix at the start and after control tokens only", () => {
  const tokenizer = spmTokenizer();
  const spell = (ids: number[]) => ids.map((id) => spmGolden.tokens[id]);
  assertEquals(spell(tokenizer.encode("the")), ["<s>", "▁the"]);
  assertEquals(spell(tokenizer.encode("the</s>the", { special: true })), [
    "<s>",
    "▁the",
    "</s>",
    "▁the",
  ]);
  const bare = spmTokenizer({ "tokenizer.ggml.add_space_prefix": false });
  assertEquals(spell(bare.encode("he", { addBos: false })), ["he"]);
});

Deno.test("Tokenizer.encodeParts encodes neighbouring text as one and keeps each part's stance on control tokens", () => {
  const tokenizer = bpeTokenizer();
  const whole = tokenizer.encode("the garden");
  const parts = tokenizer.encodeParts([{ type: "text", text: "the gar" }, {
    type: "text",
    text: "den",
  }]);
  assertEquals(parts, whole);
  const mixed = tokenizer.encodeParts([
    { type: "text", text: "<|im_start|>", special: true },
    { type: "text", text: "<|im_end|>" },
    { type: "tokens", ids: [5, 6] },
    { type: "text", text: "<|im_end|>", special: true },
  ]);
  assertEquals(mixed[0], imStart);
  assertEquals(mixed.slice(-3), [5, 6, imEnd]);
  assertEquals(mixed.filter((id) => id === imEnd).length, 1);
  for (const id of [-1, 0.5, tokenizer.size]) {
    assertThrows(
      () => tokenizer.encodeParts([{ type: "tokens", ids: [id] }]),
      RangeError,
      `token id is ${id}`,
    );
  }
});

Deno.test("Tokenizer.encodeParts gives no space prefix to text that goes on after ordinary tokens", () => {
  const tokenizer = spmTokenizer();
  const the = tokenizer.encode("the", { addBos: false });
  const ids = tokenizer.encodeParts([{ type: "tokens", ids: the }, { type: "text", text: "re" }], {
    addBos: false,
  });
  assertEquals(tokenizer.decode(ids), "there");
});

Deno.test("Tokenizer.decode leaves control tokens out unless special is asked for", () => {
  const tokenizer = bpeTokenizer();
  const ids = [imStart, ...tokenizer.encode("the"), user, imEnd];
  assertEquals(tokenizer.decode(ids), "the<|user|>");
  assertEquals(tokenizer.decode(ids, { special: true }), "<|im_start|>the<|user|><|im_end|>");
  assertThrows(() => tokenizer.decode([tokenizer.size]), RangeError, "token id");
});

Deno.test("Tokenizer.endTokens holds what metadata names and control tokens known to end a turn", () => {
  assertEquals([...bpeTokenizer().endTokens], [imEnd]);
  const eot = bpeTokenizer({
    "tokenizer.ggml.eos_token_id": bos,
    "tokenizer.ggml.eot_token_id": user,
  });
  assertEquals([...eot.endTokens].sort(), [bos, imEnd, user].sort());
  assertEquals([...spmTokenizer().endTokens], [2]);
});

Deno.test("Tokenizer takes marks of turns for control tokens, whatever type a file gives them", () => {
  for (const type of [1, 4]) {
    const types = new Int32Array(bpeGolden.tokens.length + 4).fill(1);
    types.fill(type, bpeGolden.tokens.length);
    const tokenizer = bpeTokenizer({ "tokenizer.ggml.token_type": types });
    assertEquals(tokenizer.encode("<|im_end|>", { special: true }), [imEnd]);
    assertEquals(tokenizer.encode("<|im_start|>").includes(imStart), false);
    assertEquals(tokenizer.decode([imStart, ...tokenizer.encode("the"), imEnd]), "the");
    assertEquals(tokenizer.endTokens.has(imEnd), true);
  }
});

Deno.test("Tokenizer makes no control token of a word that spells one, where whole words are tokens", () => {
  const tokens = [...bpeGolden.tokens, "PAD", "WORD"];
  const types = new Int32Array(tokens.length).fill(1);
  types[tokens.length - 2] = 3;
  const tokenizer = bpeTokenizer({
    "tokenizer.ggml.pre": "llama-bpe",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
  });
  const plain = (text: string) => tokenizer.encode(text, { addBos: false });
  assertEquals(plain("WORD"), [tokens.length - 1]);
  assertEquals(plain("PAD").includes(tokens.length - 2), false);
  assertEquals(tokenizer.decode(plain("PAD")), "PAD");
  assertEquals(tokenizer.encode("PAD", { addBos: false, special: true }), [tokens.length - 2]);
});

Deno.test("Tokenizer swallows white space after the turn tokens of a Phi-3, however its name is written", () => {
  const encoded = (name: string) => {
    const tokenizer = bpeTokenizer({ "general.name": name });
    return tokenizer.decode(tokenizer.encode("<|user|>\n the", { addBos: false }));
  };
  for (const name of ["Phi3", "phi-3.5-mini", "Phi 3.5 Mini Instruct", "microsoft_Phi-3"]) {
    assertEquals(encoded(name), "<|user|>the", name);
  }
  for (const name of ["Phi 4 Mini", "Delphi 3B", ""]) {
    assertEquals(encoded(name), "<|user|>\n the", name);
  }
});

Deno.test("Tokenizer counts a lone surrogate as U+FFFD", () => {
  for (const tokenizer of [bpeTokenizer(), spmTokenizer()]) {
    assertEquals(tokenizer.decode(tokenizer.encode("a\ud800b\udc00")), "a\ufffdb\ufffd");
  }
});

Deno.test("Tokenizer.encode is not quadratic in one long word", () => {
  const tokenizer = bpeTokenizer();
  const time = (length: number) => {
    const start = performance.now();
    tokenizer.encode("ab".repeat(length / 2));
    return performance.now() - start;
  };
  time(20_000);
  const short = Math.min(time(20_000), time(20_000), time(20_000));
  const long = time(320_000);
  // 16 times the text: n log n asks for about 20 times the time, n² for 256.
  assertEquals(
    long < 100 * Math.max(short, 1),
    true,
    `${short} ms for 20,000 characters, ${long} ms for 320,000`,
  );
});

Deno.test("Tokenizer.fromGguf names file, field, value and expectation when metadata is wrong", () => {
  const cases: [Record<string, unknown>, string][] = [
    [
      { "tokenizer.ggml.model": "bert" },
      'test.gguf: tokenizer.ggml.model is "bert", expected "gpt2"',
    ],
    [
      { "tokenizer.ggml.pre": "nonesuch" },
      'test.gguf: tokenizer.ggml.pre is "nonesuch", expected one of default',
    ],
    [{ "tokenizer.ggml.tokens": [] }, "test.gguf: tokenizer.ggml.tokens is an array of 0"],
    [
      { "tokenizer.ggml.tokens": 5 },
      "test.gguf: tokenizer.ggml.tokens is 5, expected an array of strings",
    ],
    [
      { "tokenizer.ggml.token_type": new Int32Array(3) },
      "tokenizer.ggml.token_type is an array of 3",
    ],
    [
      { "tokenizer.ggml.bos_token_id": 1e6 },
      "tokenizer.ggml.bos_token_id is 1000000, expected an integer in [0,",
    ],
    [{ "tokenizer.ggml.merges": ["a b", "nope nope"] }, 'tokenizer.ggml.merges[0] is "a b"'],
    [
      { "tokenizer.ggml.add_bos_token": 1 },
      "tokenizer.ggml.add_bos_token is 1, expected a boolean",
    ],
  ];
  for (const [extra, message] of cases) {
    // deno-lint-ignore no-explicit-any -- values of wrong types are the point
    assertThrows(() => Tokenizer.fromGguf(bpeMetadata(extra as any)), ModelFormatError, message);
  }
  const twice = new GgufMetadata({
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": ["a", "b", "a"],
    "tokenizer.ggml.merges": [],
  }, "test.gguf");
  assertThrows(
    () => Tokenizer.fromGguf(twice),
    ModelFormatError,
    'tokens[2] is "a", the text of token 0',
  );
  assertThrows(
    () => spmTokenizer({ "tokenizer.ggml.scores": new Float32Array(2) }),
    ModelFormatError,
    "one per token",
  );
});

Deno.test("Tokenizer.fromGguf of junk metadata works or throws ModelFormatError, nothing else", () => {
  const junk = fc.oneof(
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.string({ unit: "binary" }),
    fc.bigInt(),
    fc.array(fc.string({ unit: "binary", maxLength: 3 }), { maxLength: 5 }),
    fc.array(fc.integer(), { maxLength: 5 }).map((list) => Int32Array.from(list)),
    fc.constantFrom(bpeGolden.tokens, spmGolden.tokens, bpeGolden.merges),
    fc.constant(new Float32Array(spmGolden.tokens.length).fill(NaN)),
    fc.constant(new Int32Array(spmGolden.tokens.length).fill(-7)),
    fc.constant(new Int32Array(spmGolden.tokens.length).fill(6)),
  );
  const bases = [bpeMetadata(), spmMetadata()];
  const keys = bases.flatMap((m) => [...m].map(([key]) => key));
  keys.push(
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.chat_template",
    "general.name",
  );
  const changes = fc.dictionary(fc.constantFrom(...keys), junk, { minKeys: 1, maxKeys: 3 });
  fc.assert(
    fc.property(fc.constantFrom(...bases), changes, fc.string(), (base, extra, text) => {
      try {
        const tokenizer = Tokenizer.fromGguf(
          new GgufMetadata({ ...Object.fromEntries(base), ...extra }, "test.gguf"),
        );
        tokenizer.decode(tokenizer.encode(text, { special: true }));
      } catch (error) {
        // A vocabulary may turn out not to spell a text.
        if (
          !(error instanceof ModelFormatError) &&
          !(error instanceof RangeError && /has no token/.test(error.message))
        ) {
          throw error;
        }
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("Tokenizer says which byte a vocabulary cannot spell, or uses its unknown token", () => {
  const metadata = (extra: Record<string, number>) =>
    new GgufMetadata({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.tokens": ["a", "b", "ab", "?"],
      "tokenizer.ggml.merges": ["a b"],
      ...extra,
    }, "test.gguf");
  const bare = Tokenizer.fromGguf(metadata({}));
  assertEquals(bare.encode("abba"), [2, 1, 0]);
  assertThrows(
    () => bare.encode("abc"),
    RangeError,
    "byte 99 of the text has no token in test.gguf",
  );
  const tolerant = Tokenizer.fromGguf(metadata({ "tokenizer.ggml.unknown_token_id": 3 }));
  assertEquals(tolerant.encode("abc"), [2, 3]);
});

Deno.test("Tokenizer.describe spells control tokens and writes parts of characters as bytes", () => {
  const bpe = bpeTokenizer();
  const [whole] = bpe.encode("a");
  assertEquals(bpe.describe(whole), { token: "a", bytes: [0x61] });
  assertEquals(bpe.describe(bpe.vocab.ids.get("<|im_end|>")!), {
    token: "<|im_end|>",
    bytes: null,
  });
  assertEquals(bpe.describe(bpe.size), { token: "", bytes: null });
  for (const text of ["über “quoted” 数 🙂", " plain words\n"]) {
    for (const tokenizer of [bpe, spmTokenizer()]) {
      const ids = tokenizer.encode(text, { addBos: false });
      const bytes = ids.flatMap((id) => [...tokenizer.describe(id).bytes!]);
      assertEquals(new TextDecoder().decode(Uint8Array.from(bytes)).trimStart(), text.trimStart());
      for (const id of ids) {
        const { token, bytes } = tokenizer.describe(id);
        const spelt = [...new TextEncoder().encode(token)];
        if (token.includes("\\x")) {
          assert(bytes!.some((byte) => byte >= 0x80) && !token.includes("\ufffd"));
        } else assertEquals(spelt, bytes);
      }
    }
  }
});

Deno.test("Tokenizer.addsBos says what encodeParts does", () => {
  for (
    const tokenizer of [
      bpeTokenizer(),
      spmTokenizer(),
      bpeTokenizer({ "tokenizer.ggml.add_bos_token": true }),
    ]
  ) {
    const bos = tokenizer.bosId ?? 0;
    const parts = [
      [{ type: "text" as const, text: "a tale" }],
      [{ type: "tokens" as const, ids: [bos, 5] }],
      [{ type: "tokens" as const, ids: [5, bos] }],
      [{ type: "text" as const, text: "" }, { type: "tokens" as const, ids: [bos] }],
      [{ type: "text" as const, text: tokenizer.vocab.tokens[bos], special: true }],
      [],
    ];
    for (const each of parts) {
      const more = tokenizer.encodeParts(each).length -
        tokenizer.encodeParts(each, { addBos: false }).length;
      assertEquals(Number(tokenizer.addsBos(each)), more);
    }
  }
});
