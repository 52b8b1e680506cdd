import { assert, assertEquals, assertLess } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/open_model.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { DecodePolicy, EngineLoad } from "../../src/engine/types.ts";
import { gpuTest } from "../support/needs_adapter.ts";

// Opened while the module loads: a library opened inside a test counts as leaked by it.
const problem = nativeProblem();
const path = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
const text = "The fox went to the river. A small boat lay there, and nobody was in it. ";

function test(name: string, run: () => Promise<void>): void {
  if (problem === undefined) gpuTest(name, run);
  else {Deno.test({
      name: `${name} (skipped: the native library is not built)`,
      ignore: true,
      fn: run,
    });}
}

/** Generates greedily. */
async function generate(
  engine: Engine,
  ids: number[],
  maxTokens: number,
  decode?: DecodePolicy,
): Promise<{ out: number[]; cached: number }> {
  const out: number[] = [];
  let cached = 0;
  const prompt = { type: "parts" as const, parts: [{ type: "tokens" as const, ids }] };
  const request = {
    id: crypto.randomUUID(),
    prompt,
    maxTokens,
    ignoreEos: true,
    sampling: greedy,
    decode,
  };
  for await (const event of engine.submit(request)) {
    if (event.type === "delta") out.push(...event.ids);
    if (event.type === "finished") cached = event.usage.cachedTokens;
  }
  return { out, cached };
}

test("Engine decodes by retrieval what it decodes densely, on fewer pages, and frees what it kept", async () => {
  const retrieval = { crossover: 1500, waitForIndex: true, last: 256, tail: 0, idleBytes: 0 };
  // The load after the latest step that left a sequence running.
  let load: EngineLoad | undefined;
  const onStep = () => {
    const now = engine.load();
    if (now.running > 0) load = now;
  };
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 2048, maxSequences: 4, retrieval }),
    { onStep },
  );
  const ids = Array.from({ length: 90 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  const prompt = ids.slice(0, 1500);
  const dense = await generate(engine, prompt, 100, { kind: "dense" });
  const densePages = load!.pagesUsed;
  assertEquals(load!.retrieval?.tokens, 0);

  // All keys: the same tokens. The prompt's end is computed again, for its queries.
  const all = await generate(engine, prompt, 100, { kind: "retrieval", mass: 1 });
  assertEquals(all.out, dense.out);
  assertEquals(all.cached, 1500 - 512);
  assert(load!.retrieval!.ready === 1 && load!.retrieval!.cpuBytes > 0);
  // Pages 2 to 19 went: 128 tokens at the start and at least 256 at the end stay.
  assertLess(load!.pagesUsed, densePages - 15);
  assertLess(load!.pagesUsed, Math.ceil((128 + 256 + 2 * 64) / 64) + 1);
  const after = engine.load().retrieval!;
  assertEquals([after.ready, after.cpuBytes], [0, 0]);
  assertEquals(after.keysScanned, after.keysHeld);

  // The policy auto takes prompts from the crossover on.
  const before = engine.load().retrieval!.tokens;
  await generate(engine, ids.slice(100, 1599), 5);
  assertEquals(engine.load().retrieval!.tokens, before);
  await generate(engine, ids.slice(200, 1700), 5);
  assertEquals(engine.load().retrieval!.tokens, before + 4);
  assertEquals(engine.load().pagesUsed, 0);
});

test("Engine finds all of a conversation in the cache, whose middle its turns gave back, and decodes by the index that there is", async () => {
  const retrieval = { crossover: 1000, waitForIndex: true, last: 256, tail: 0 };
  let ready = 0, shared = 0;
  const onStep = () => {
    const load = engine.load().retrieval!;
    ready = Math.max(ready, load.ready);
    shared = Math.max(shared, load.shared);
  };
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 2048, maxSequences: 4, retrieval }),
    { onStep },
  );
  const ids = Array.from({ length: 90 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  for (const decode of [{ kind: "retrieval", mass: 1 }, { kind: "auto" }] as const) {
    let turns = decode.kind === "auto" ? ids.slice(1, 1301) : ids.slice(0, 1300);
    let answered = 0;
    for (let turn = 0; turn < 3; turn++) {
      ready = shared = 0;
      const { out, cached } = await generate(engine, turns, 80, decode);
      assertEquals(ready, 1, `${decode.kind}, turn ${turn} decodes by retrieval`);
      assertEquals(shared, Math.min(turn, 1), "the later turns use the index of the first");
      // All but the last token of the answer, which was sampled and never read.
      if (turn > 0) assertEquals(cached, answered, `${decode.kind}, turn ${turn}`);
      answered = turns.length + out.length - 1;
      turns = [...turns, ...out, ...ids.slice(1400 + 20 * turn, 1420 + 20 * turn)];
    }
  }
});

test("Engine indexes a conversation once when it has grown beyond the crossover", async () => {
  const retrieval = { crossover: 1000, waitForIndex: true, last: 256 };
  let ready = 0;
  const onStep = () => ready = Math.max(ready, engine.load().retrieval!.ready);
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 2048, maxSequences: 4, retrieval }),
    { onStep },
  );
  const ids = Array.from({ length: 90 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  let turns = ids.slice(0, 900);
  const seen: [retrieves: number, read: number][] = [];
  for (let turn = 0; turn < 4; turn++) {
    ready = 0;
    const { out, cached } = await generate(engine, turns, 60);
    seen.push([ready, turns.length - cached]);
    turns = [...turns, ...out, ...ids.slice(1000 + 20 * turn, 1020 + 20 * turn)];
  }
  // 900, 980, 1060 and 1140 tokens: the first prompt beyond 1,000 has its end read again, for the queries of an index.
  assertEquals(seen, [[0, 900], [0, 21], [1, 512], [1, 21]]);
});

test("Engine indexes a long prompt that the cache held, though the answer has fewer steps than moving it takes", async () => {
  const retrieval = { crossover: 1000, waitForIndex: true };
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 6144, maxSequences: 4, retrieval }),
  );
  const ids = Array.from({ length: 320 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  // 75 pages go to the CPU, 64 of them in a step: dense at first, then read again from its end on, in one step.
  const prompt = ids.slice(0, 5500);
  const dense = await generate(engine, prompt, 20, { kind: "dense" });
  const [first, second] = [await generate(engine, prompt, 1), await generate(engine, prompt, 20)];
  assertEquals([first.cached, second.cached], [prompt.length - 512, prompt.length - 1]);
  const { shared, idleBytes, cpuBytes, tokens } = engine.load().retrieval!;
  assertEquals([shared, idleBytes, tokens], [0, cpuBytes, 19]);
  assertEquals(dense.out.slice(0, 1), first.out);
});

test("Engine builds no index of a text that it only scores, but of one that it is to go on with", async () => {
  const retrieval = { crossover: 600, waitForIndex: true };
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 2048, maxSequences: 4, retrieval }),
  );
  const ids = Array.from({ length: 60 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  const request = { sampling: greedy, maxTokens: 0 };
  const kept: boolean[] = [];
  for (const [id, more] of [["scored", { echo: true, logprobs: 0 }], ["filled", {}]] as const) {
    const parts = [{ type: "tokens" as const, ids: ids.slice(0, 1000) }];
    const scored: unknown[] = [];
    for await (
      const event of engine.submit({ ...request, ...more, id, prompt: { type: "parts", parts } })
    ) {
      if (event.type === "prompt") scored.push(...event.logprobs ?? []);
    }
    assertEquals(scored.length, id === "scored" ? 1000 : 0);
    kept.push(engine.load().retrieval!.cpuBytes > 0);
  }
  assertEquals(kept, [false, true]);
});

test("Engine goes on densely while an index is built, and reads many streams beside one that retrieves", async () => {
  const retrieval = { last: 128, idleBytes: 0 };
  await using engine = await Engine.open(() =>
    openModel({ path, contextLength: 2048, maxSequences: 4, retrieval })
  );
  const ids = Array.from({ length: 90 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  const prompts = [900, 700, 300].map((length, i) => ids.slice(50 * i, 50 * i + length));
  const alone = [];
  for (const prompt of prompts) {
    alone.push((await generate(engine, prompt, 60, { kind: "dense" })).out);
  }
  const together = await Promise.all(
    prompts.map((prompt) => generate(engine, prompt, 60, { kind: "retrieval", mass: 1 })),
  );
  assertEquals(together.map(({ out }) => out), alone);
  assertEquals(engine.load().retrieval!.cpuBytes, 0);
});

test("Engine reads a document once for all who ask about it, and answers each as if alone", async () => {
  const retrieval = { waitForIndex: true, last: 128, tail: 1024 };
  let load: EngineLoad | undefined;
  const onStep = () => {
    const now = engine.load();
    if (now.running > 0) load = now;
  };
  await using engine = await Engine.open(
    () => openModel({ path, contextLength: 2048, maxSequences: 4, retrieval }),
    { onStep },
  );
  const ids = Array.from({ length: 90 }, (_, i) => engine.tokenize(`${i}: ${text}`)).flat();
  const document = ids.slice(0, 1500);
  // Questions of different lengths, the later ones shorter and longer.
  const prompts = [40, 10, 70].map((length, i) => [
    ...document,
    ...ids.slice(1600 + 7 * i, 1600 + 7 * i + length),
  ]);
  const policies: DecodePolicy[] = [
    { kind: "retrieval", mass: 1 },
    { kind: "retrieval" },
    { kind: "retrieval", k: 20 },
  ];
  const dense = [];
  for (const prompt of prompts) {
    dense.push((await generate(engine, prompt, 40, { kind: "dense" })).out);
  }
  const first = await generate(engine, prompts[0], 40, policies[0]);
  assertEquals(first.out, dense[0]);
  assertEquals(load!.retrieval!.shared, 0);
  const { cpuBytes, idleBytes } = engine.load().retrieval!;
  assert(idleBytes === cpuBytes && idleBytes > 0);
  for (const [i, prompt] of prompts.entries()) {
    const { out } = await generate(engine, prompt, 40, policies[0]);
    assertEquals(out, dense[i]);
    assertEquals(load!.retrieval!.shared, 1, `question ${i}`);
    assertEquals(engine.load().retrieval!.cpuBytes, cpuBytes, "no second copy");
  }
  // Together, each with a budget of its own.
  const together = await Promise.all(
    prompts.map((prompt, i) => generate(engine, prompt, 40, policies[i])),
  );
  assertEquals(together[0].out, dense[0]);
  assertEquals(load!.retrieval!.idleBytes, 0);
  const alone = [];
  for (const [i, prompt] of prompts.entries()) {
    alone.push((await generate(engine, prompt, 40, policies[i])).out);
  }
  assertEquals(together.map(({ out }) => out), alone);
  // A document that only begins alike is another.
  const other = [...document.slice(0, 700), ...ids.slice(1000, 1900)];
  const otherDense = await generate(engine, other, 40, { kind: "dense" });
  assertEquals((await generate(engine, other, 40, policies[0])).out, otherDense.out);
  assertEquals(load!.retrieval!.shared, 0);
});
