import { assert, assertEquals, assertRejects } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { ConstraintError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import { type GenerateOptions, TextEngine } from "../../src/engine/text_engine.ts";
import type { TextConstraint } from "../../src/engine/types.ts";
import { conforms } from "../oracle/json_schema.ts";
import { isJsonPrefix } from "../oracle/json_prefix.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { randomSchema } from "../support/random_schema.ts";

const missing = nativeProblem();
/** 2,048 tokens; of the other, every token is a byte. */
const words = new URL("../../models/sparrow-mini.gguf", import.meta.url);
const bytes = new URL("../golden/models/tiny_llama_q8_0.gguf", import.meta.url);

function test(name: string, run: () => Promise<void>): void {
  if (missing === undefined) gpuTest(name, run);
  else Deno.test({ name: `${name} (skipped: no native library)`, ignore: true, fn: run });
}

const object = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 120 },
  },
  required: ["name", "age"],
  additionalProperties: false,
};

for (const [kind, model, count] of [["words", words, 60], ["bytes", bytes, 30]] as const) {
  test(`texts under random schemas are JSON of the schema, tokens are ${kind}`, async () => {
    await using engine = await TextEngine.open({ model, isolate: "own", maxSequences: 8 });
    const rng = new Rng(kind === "words" ? 21 : 22);
    const cases = Array.from({ length: count }, (_, i) => {
      const sampling: GenerateOptions = [
        { temperature: 1 + rng.uniform() * 3 },
        { temperature: 1.5, topP: 0.9, frequencyPenalty: 1 },
        { temperature: 2, topK: 5, presencePenalty: -1 },
        {},
      ][i % 4];
      return { schema: randomSchema(rng), sampling: { ...sampling, seed: i } };
    });
    const found = await Promise.all(
      cases.map(({ schema, sampling }) =>
        engine.complete("Some JSON:", {
          ...sampling,
          maxTokens: 160,
          constraint: { kind: "json_schema", schema },
        })
      ),
    );
    let whole = 0;
    found.forEach(({ text, reason }, i) => {
      const about = () => `${JSON.stringify(cases[i])}: ${reason} ${text}`;
      if (reason === "length") assert(isJsonPrefix(text), about());
      else {
        whole++;
        assert(conforms(cases[i].schema as boolean, JSON.parse(text)), about());
      }
    });
    assert(whole >= count * 0.7, `only ${whole} of ${count} texts ended`);
    assertEquals(new Set(found.map(({ text }) => text)).size > count / 2, true);
  });
}

test("json_object, choices, regular expressions and grammars hold at every temperature", async () => {
  await using engine = await TextEngine.open({ model: words, isolate: "own", maxSequences: 8 });
  const run = (constraint: TextConstraint, seed: number) =>
    engine.complete("Once", { constraint, temperature: (seed % 4) * 0.9, seed, maxTokens: 60 });
  const seeds = Array.from({ length: 12 }, (_, seed) => seed);
  for (
    const { text, reason } of await Promise.all(seeds.map((s) => run({ kind: "json_object" }, s)))
  ) {
    assert(isJsonPrefix(text) && text.startsWith("{"), text);
    if (reason === "stop") assert(conforms({ type: "object" }, JSON.parse(text)), text);
  }
  const pattern = "(yes|no), [a-zé]{2,9}( 😀){1,2}[.!]";
  for (
    const { text, reason } of await Promise.all(
      seeds.map((s) => run({ kind: "regex", pattern }, s)),
    )
  ) {
    assertEquals(reason, "stop");
    assert(new RegExp(`^${pattern}$`, "u").test(text), text);
  }
  const choices = ["red", "reddish", "green"];
  for (
    const { text, reason } of await Promise.all(
      seeds.map((s) => run({ kind: "choice", choices }, s)),
    )
  ) {
    assert(reason === "stop" && choices.includes(text), text);
  }
  const grammar = 'start: "(" (start | NUMBER) ")"\nNUMBER: /[0-9]{1,2}/';
  for (
    const { text, reason } of await Promise.all(
      seeds.map((s) => run({ kind: "grammar", grammar }, s)),
    )
  ) {
    if (reason === "length") assert(/^\(+([0-9]{1,2}\)*)?$/.test(text), text);
    else {
      const [, open, close] = text.match(/^(\(+)[0-9]{1,2}(\)+)$/) ?? [];
      assertEquals(open?.length, close?.length, text);
      assert(open?.length > 0, text);
    }
  }
});

test("rows with and without constraints give in a batch what they give alone", async () => {
  await using engine = await TextEngine.open({ model: words, isolate: "own", maxSequences: 8 });
  const constraint: TextConstraint = { kind: "json_schema", schema: object };
  const asked: GenerateOptions[] = [
    { constraint },
    {},
    { constraint, temperature: 1.3, seed: 4 },
    { temperature: 1.3, seed: 4, frequencyPenalty: 0.5 },
    {
      constraint,
      temperature: 1.1,
      seed: 9,
      presencePenalty: 0.7,
      logitBias: { 300: 5, 40: -100 },
    },
    { constraint: { kind: "regex", pattern: "[a-z ]{5,80}" }, temperature: 2, seed: 1, topP: 0.8 },
    { logitBias: { 300: 2 } },
  ];
  const run = (own: GenerateOptions) => engine.complete("Tell me.", { maxTokens: 40, ...own });
  const alone: string[] = [];
  for (const own of asked) alone.push((await run(own)).text);
  for (let i = 0; i < 2; i++) {
    const together = await Promise.all(asked.map(run));
    assertEquals(together.map(({ text }) => text), alone);
  }
});

test("constrained texts survive pre-emption: the same as with room for all", async () => {
  const constraint: TextConstraint = {
    kind: "json_schema",
    schema: { type: "array", items: { type: "string", minLength: 20 }, minItems: 9 },
  };
  const texts: string[][] = [];
  for (const kvTokens of [2048, 256]) {
    await using engine = await TextEngine.open({
      model: bytes,
      isolate: "own",
      maxSequences: 4,
      kvTokens,
      contextLength: 192,
    });
    const found = await Promise.all(
      ["Once", "The end", "A hill", "There"].map((prompt, seed) =>
        engine.complete(prompt, { constraint, maxTokens: 170, temperature: 1.2, seed })
      ),
    );
    for (const { text } of found) assert(isJsonPrefix(text), text);
    texts.push(found.map(({ text }) => text));
    assertEquals(engine.load().preemptions > 0, kvTokens === 256);
  }
  assertEquals(texts[1], texts[0]);
});

test("a constrained text ends where it may, and for the reason that is true", async () => {
  await using engine = await TextEngine.open({ model: words, isolate: "own", maxSequences: 4 });
  const run = (options: GenerateOptions) => engine.complete("Hello", options);
  const digits = (pattern: string): GenerateOptions => ({ constraint: { kind: "regex", pattern } });
  const [end, nothing] = [2047, 2045];
  // An end token that the model wants at once is not allowed before the text is whole.
  const eager = { logitBias: { [end]: 100, [nothing]: 100 } };
  const short = await run({ ...digits("\\d{4,9}"), ...eager, maxTokens: 20 });
  assertEquals([short.text.length, short.reason], [4, "stop"]);
  // One that it never wants: the text goes on to its longest form, which ends without an end token.
  const shy = { logitBias: { [end]: -100, [nothing]: -100 } };
  const long = await run({ ...digits("\\d{4,9}"), ...shy, maxTokens: 20 });
  assertEquals([long.text.length, long.reason], [9, "stop"]);
  // Complete with the very last token, and cut one token before.
  const count = long.usage.completionTokens;
  const exact = await run({ ...digits("\\d{4,9}"), ...shy, maxTokens: count });
  assertEquals([exact.text, exact.reason], [long.text, "stop"]);
  const cut = await run({ ...digits("\\d{4,9}"), ...shy, maxTokens: count - 1 });
  assertEquals(cut.reason, "length");
  assert(long.text.startsWith(cut.text) && cut.text.length < 9);
  // Stop strings cut as ever; stop tokens wait until the text is whole.
  const stopped = await run({
    constraint: { kind: "choice", choices: ["one two"] },
    stop: [" tw"],
  });
  assertEquals([stopped.text, stopped.reason], ["one", "stop"]);
  const [digit] = (await engine.tokenize("7", { addBos: false })).slice(-1);
  const token = await run({
    ...digits("7{3}[7a]{0,9}"),
    stopTokens: [digit],
    logitBias: { [digit]: 50 },
    maxTokens: 20,
  });
  // The first three are the text's own; what is wanted next ends it.
  assertEquals([token.text, token.reason], ["777", "stop"]);
  // No text, no constraint: a prompt that is only read.
  assertEquals((await run({ ...digits("\\d"), maxTokens: 0 })).reason, "length");
});

test("choices of one prompt under one constraint are drawn apart", async () => {
  await using engine = await TextEngine.open({ model: words, isolate: "own", maxSequences: 8 });
  const constraint: TextConstraint = { kind: "regex", pattern: "[a-z]{12}" };
  const texts = await Promise.all(
    [1, 2, 3, 4, 5, 6].map((seed) => engine.complete("A", { constraint, temperature: 2, seed })),
  );
  for (const { text } of texts) assert(/^[a-z]{12}$/.test(text), text);
  assertEquals(new Set(texts.map(({ text }) => text)).size, 6);
});

test("retrieval decoding keeps constraints", async () => {
  const retrieval = { crossover: 1500, waitForIndex: true, last: 256, tail: 0, idleBytes: 0 };
  await using engine = await TextEngine.open({
    model: words,
    isolate: "own",
    contextLength: 2048,
    maxSequences: 4,
    retrieval,
  });
  const line = "The fox went to the river. A small boat lay there, and nobody was in it. ";
  const ids = await engine.tokenize(line.repeat(90));
  const prompt = [{ type: "tokens" as const, ids: ids.slice(0, 1600) }];
  const constraint: TextConstraint = { kind: "json_schema", schema: object };
  const run = (own: GenerateOptions) =>
    engine.complete(prompt, { constraint, maxTokens: 60, temperature: 1, seed: 3, ...own });
  const dense = await run({ decode: { kind: "dense" } });
  const retrieved = await run({ decode: { kind: "retrieval", mass: 1 } });
  assert(engine.load().retrieval!.tokens > 0);
  assertEquals(retrieved.text, dense.text);
  assert(conforms(object, JSON.parse(dense.text)), dense.text);
});

test("constraints cross into Workers and processes, and so do their refusals", async () => {
  for (const isolate of ["worker", "process"] as const) {
    await using engine = await TextEngine.open({ model: bytes, isolate, maxSequences: 4 });
    const choices = ["left", "right"];
    const { text } = await engine.complete("x", { constraint: { kind: "choice", choices } });
    assert(choices.includes(text), text);
    const bad: [GenerateOptions, string][] = [
      [{ constraint: { kind: "regex", pattern: "(a" } }, "unclosed group"],
      [{ constraint: { kind: "json_schema", schema: { not: {} } } }, 'keyword "not" at #'],
      [{ constraint: { kind: "json_object" }, ignoreEos: true }, "ignoreEos"],
    ];
    for (const [options, message] of bad) {
      await assertRejects(() => engine.complete("x", options), ConstraintError, message);
    }
    // A generation that leaves while its grammar is compiled, or in the middle of its text, leaves nothing behind.
    const constraint: TextConstraint = { kind: "regex", pattern: "[a-z]{40,400}" };
    const early = engine.generate("x", { constraint });
    early.cancel();
    const events = [];
    for await (const event of early) events.push(event.type);
    assertEquals(events.at(-1), "finished");
    for await (const event of engine.generate("x", { constraint })) {
      if (event.type === "delta") break;
    }
    assertEquals((await engine.complete("x", { constraint, maxTokens: 3 })).reason, "length");
  }
});
