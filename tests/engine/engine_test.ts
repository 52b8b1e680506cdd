import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import { Engine } from "../../src/engine/engine.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { NOT_FINITE } from "../../src/engine/step.ts";
import type { GenerateEvent, GenerateRequest, Generation } from "../../src/engine/types.ts";
import {
  FakeCodec,
  type FakeModelOptions,
  fakeVocabulary,
  openFakeModel,
} from "../support/fake_model.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { expectedTokens, type FakeRunner } from "../support/fake_runner.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { until } from "../support/until.ts";

let names = 0;

function request(text: string, options: Partial<GenerateRequest> = {}): GenerateRequest {
  const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text }] };
  return { id: `r${names++}`, prompt, maxTokens: 12, sampling: greedy, ...options };
}

function openEngine(options: FakeModelOptions = {}): Promise<Engine> {
  return Engine.open(() => openFakeModel(options));
}

async function read(
  generation: Generation,
): Promise<{ events: GenerateEvent[]; text: string; ids: number[] }> {
  const events: GenerateEvent[] = [];
  for await (const event of generation) events.push(event);
  const deltas = events.filter((event) => event.type === "delta");
  return { events, text: deltas.map((d) => d.text).join(""), ids: deltas.flatMap((d) => d.ids) };
}

function expected(text: string, count: number): number[] {
  return expectedTokens(new FakeCodec().encode(text), count, greedy, fakeVocabulary);
}

Deno.test("Engine tells how much of a long prompt is read to who wants to know", async () => {
  await using engine = await openEngine({ maxBatchTokens: 80, pipelineDepth: 1 });
  const told = async (text: string, progress?: boolean) => {
    const { events } = await read(engine.submit(request(text, { progress })));
    const kinds = events.map((event) => event.type);
    assertEquals([kinds[0], kinds.at(-1)], ["started", "finished"]);
    assertEquals(kinds.lastIndexOf("reading") < kinds.indexOf("delta"), true);
    return events.flatMap((event) =>
      event.type === "reading" ? [[event.tokens, event.promptTokens]] : []
    );
  };
  const long = "a b c d e f g h i j ".repeat(10);
  assertEquals(await told(long, true), [[80, 200], [160, 200]]);
  // What the cache holds counts as read.
  assertEquals(await told(long + "k l m n o p ".repeat(10), true), [[280, 320]]);
  assertEquals(await told("x" + long), []);
  assertEquals(await told("short", true), []);
});

Deno.test("Engine streams started, deltas and finished with the right text, ids and usage", async () => {
  await using engine = await openEngine();
  const { events, text, ids } = await read(
    engine.submit(request("hello there", { maxTokens: 20 })),
  );
  assertEquals(events[0], { type: "started", promptTokens: 11, cachedTokens: 0 });
  assertEquals(ids, expected("hello there", 20));
  assertEquals(text, new FakeCodec().decode(ids));
  const last = events.at(-1)!;
  assert(last.type === "finished" && last.reason === "length");
  assertEquals([last.usage.promptTokens, last.usage.completionTokens, last.usage.cachedTokens], [
    11,
    20,
    0,
  ]);
  assert(last.usage.ttftMs > 0 && last.usage.decodeMs >= 0);
  const load = engine.load();
  assertEquals([load.running, load.waiting, load.pagesUsed, load.generatedTokens], [0, 0, 0, 20]);
});

Deno.test("Engine gives many requests at once the text that each gets alone", async () => {
  await using engine = await openEngine({ pagesTotal: 24, maxSequences: 5, maxBatchTokens: 80 });
  const prompts = Array.from(
    { length: 20 },
    (_, i) => "shared beginning of some length, ".repeat(i % 4) + `ask ${i}`,
  );
  const all = await Promise.all(
    prompts.map((text) => read(engine.submit(request(text, { maxTokens: 30 })))),
  );
  all.forEach(({ ids }, i) => assertEquals(ids, expected(prompts[i], 30)));
  assertEquals(engine.load().pagesUsed, 0);
});

Deno.test("Engine ends before a stop string, and shows no part of it and no token of it", async () => {
  await using engine = await openEngine();
  const full = await read(engine.submit(request("tell me", { maxTokens: 40 })));
  const stop = full.text.slice(10, 14);
  const at = full.text.indexOf(stop);
  const { text, ids, events } = await read(
    engine.submit(request("tell me", { maxTokens: 40, stop: [stop] })),
  );
  assertEquals(text, full.text.slice(0, at));
  assertEquals(ids, full.ids.slice(0, ids.length));
  assert(new FakeCodec().decode(ids).length <= at);
  const last = events.at(-1)!;
  assert(last.type === "finished" && last.reason === "stop");
});

Deno.test("Engine ends at end tokens and stop tokens, leaves them out, and goes past them with ignoreEos", async () => {
  const ids = expected("once", 30);
  const end = ids[7];
  const before = ids.indexOf(end);
  await using engine = await openEngine({ endText: new FakeCodec().decode([end]) });
  const stopped = await read(engine.submit(request("once", { maxTokens: 30 })));
  assertEquals(stopped.ids, ids.slice(0, before));
  const on = await read(engine.submit(request("once", { maxTokens: 30, ignoreEos: true })));
  assertEquals(on.ids, ids);
  const other = ids[before > 3 ? 3 : 12];
  const custom = await read(
    engine.submit(request("once", { maxTokens: 30, ignoreEos: true, stopTokens: [other] })),
  );
  assertEquals(custom.ids, ids.slice(0, ids.indexOf(other)));
});

Deno.test("Engine never shows half a code point", async () => {
  await using engine = await openEngine();
  for (let i = 0; i < 30; i++) {
    const { events, ids } = await read(engine.submit(request(`say ${i}`, { maxTokens: 50 })));
    const text = events.map((event) => event.type === "delta" ? event.text : "").join("");
    assertEquals(text, new FakeCodec().decode(ids));
    assertEquals(ids, expected(`say ${i}`, 50));
  }
});

Deno.test("Engine finds the prompt of an earlier request in its cache, and keeps scopes apart", async () => {
  await using engine = await openEngine();
  const text = "a long system prompt. ".repeat(8);
  await read(engine.submit(request(text)));
  const again = await read(engine.submit(request(text + "more")));
  assertEquals(again.events[0], { type: "started", promptTokens: 180, cachedTokens: 176 });
  const apart = await read(engine.submit(request(text, { cacheScope: "other" })));
  assertEquals(apart.events[0], { type: "started", promptTokens: 176, cachedTokens: 0 });
  assertEquals(engine.cachedPrefix(engine.tokenize(text + "zz")), 176);
  assertEquals(engine.cachedPrefix(engine.tokenize(text), "nobody"), 0);
});

Deno.test("Engine frees a request that is cancelled while waiting, while running, or by leaving the loop", async () => {
  await using engine = await openEngine({ maxSequences: 1, stepMs: 1 });
  const running = engine.submit(request("one", { maxTokens: 500 }));
  const waiting = engine.submit(request("two", { maxTokens: 500 }));
  waiting.cancel();
  waiting.cancel();
  const gone = await read(waiting);
  assertEquals(gone.events.map((event) => event.type), ["finished"]);
  let deltas = 0;
  for await (const event of running) {
    if (event.type === "delta" && ++deltas === 3) break;
  }
  const next = await read(engine.submit(request("three")));
  assertEquals(next.ids, expected("three", 12));
  assertEquals(engine.load().pagesUsed, 0);
});

Deno.test("Engine throws CapacityError at submit, and a bad prompt from the iterator with the counts", async () => {
  await using engine = await Engine.open(() => openFakeModel({ pagesTotal: 2, maxSequences: 1 }), {
    scheduler: { maxWaiting: 2 },
  });
  const queued = [1, 2].map((i) => engine.submit(request(`n${i}`)));
  assertThrows(() => engine.submit(request("n3")), CapacityError, "2 requests are waiting");
  await Promise.all(queued.map(read));
  await assertRejects(
    () => read(engine.submit(request("x".repeat(128)))),
    RangeError,
    "prompt has 128 tokens, this model's maximum context length is 128 tokens, of them at most 127 of the prompt",
  );
  await assertRejects(() => read(engine.submit(request("ABC"))), RangeError, "fake alphabet");
  // JSON has it for NaN: it must not pass for no limit.
  const endless = { maxTokens: null as unknown as number };
  await assertRejects(
    () => read(engine.submit(request("x", endless))),
    RangeError,
    "maxTokens is null, expected an integer",
  );
  const whole = await read(engine.submit(request("x".repeat(120), { maxTokens: undefined })));
  assertEquals(whole.ids.length, 8);
  assertEquals(engine.load().waiting, 0);
});

Deno.test("Engine fails a request that cannot be begun, and no other one with it", async () => {
  await using engine = await openEngine();
  const other = read(engine.submit(request("hello there")));
  const wrong: Partial<GenerateRequest>[] = [
    { stop: "x" as unknown as string[] },
    { visible: 4 as unknown as string[] },
  ];
  for (const options of wrong) {
    await assertRejects(() => read(engine.submit(request("a", options))), TypeError);
  }
  assertEquals((await other).ids.length, 12);
  assertEquals([engine.load().running, engine.load().waiting], [0, 0]);
});

Deno.test("Engine fails what was running when the device is lost, reopens it and goes on", async () => {
  const runners: FakeRunner[] = [];
  const opener = async () => {
    if (runners.length === 1) {
      runners.push(runners[0]);
      throw new Error("not yet");
    }
    const model = await openFakeModel({ maxSequences: 1, stepMs: 1 });
    runners.push(model.runner as FakeRunner);
    return model;
  };
  await using engine = await Engine.open(opener, { reopenDelaysMs: [0, 1] });
  const running = engine.submit(request("first", { maxTokens: 500 }));
  const waiting = engine.submit(request("second"));
  await assertRejects(
    async () => {
      for await (const event of running) if (event.type === "delta") runners[0].lost = true;
    },
    DeviceLostError,
    "fake device lost",
  );
  assertEquals((await read(waiting)).ids, expected("second", 12));
  assertEquals((await read(engine.submit(request("third")))).ids, expected("third", 12));
  assertEquals(runners.length, 3);
});

gpuTest("Engine knows a lost device by its first sign, and reopens it", async () => {
  const path = new URL("../golden/models/tiny_llama_q8_0.gguf", import.meta.url).pathname;
  const devices: Gpu[] = [];
  const opener = async () => {
    devices.push(await Gpu.open());
    const options = { contextLength: 128, maxSequences: 2, retrieval: false } as const;
    const runner = await GpuStepRunner.open(path, options, devices.at(-1));
    return { ...await openFakeModel(), runner };
  };
  await using engine = await Engine.open(opener, { reopenDelaysMs: [0] });
  const { ids } = await read(engine.submit(request("a text", { maxTokens: 4 })));
  // The event loop tells of the loss only after the step that meets it.
  devices[0].device.destroy();
  await assertRejects(() => read(engine.submit(request("a text"))), DeviceLostError, "destroyed");
  assertEquals((await read(engine.submit(request("a text", { maxTokens: 4 })))).ids, ids);
  assertEquals(devices.length, 2);
});

Deno.test("Engine fails what waits and is too long for the device that it reopens, and goes on", async () => {
  const runners: FakeRunner[] = [];
  const opener = async () => {
    assert(runners.length < 3, "reopened without end");
    const sizes = runners.length === 0 ? {} : { contextLength: 128, pagesTotal: 2 };
    const model = await openFakeModel({ maxSequences: 1, stepMs: 1, ...sizes });
    runners.push(model.runner as FakeRunner);
    return model;
  };
  await using engine = await Engine.open(opener, { reopenDelaysMs: [0] });
  const running = engine.submit(request("first", { maxTokens: 500 }));
  const long = engine.submit(request("x".repeat(200)));
  const short = engine.submit(request("short"));
  await assertRejects(async () => {
    for await (const event of running) if (event.type === "delta") runners[0].lost = true;
  }, DeviceLostError);
  await assertRejects(() => read(long), RangeError, "exceed the context of 128");
  assertEquals((await read(short)).ids, expected("short", 12));
  assertEquals(runners.length, 2);
});

Deno.test("Engine counts no prompt whose first step the device did not take", async () => {
  const models = [await openFakeModel(), await openFakeModel()];
  (models[0].runner as FakeRunner).lost = true;
  let opened = 0;
  await using engine = await Engine.open(() => Promise.resolve(models[opened++]), {
    reopenDelaysMs: [0],
  });
  await assertRejects(() => read(engine.submit(request("never read"))), DeviceLostError);
  await read(engine.submit(request("read")));
  assertEquals(engine.load().promptTokens, 4);
});

Deno.test("Engine has failed when the device cannot be reopened, and says so to everyone", async () => {
  let opened = 0;
  const model = await openFakeModel({ maxSequences: 1, stepMs: 1 });
  const opener = () =>
    opened++ === 0 ? Promise.resolve(model) : Promise.reject(new Error("no adapter"));
  await using engine = await Engine.open(opener, { reopenDelaysMs: [0, 0] });
  const all = ["a", "b"].map((text) => engine.submit(request(text, { maxTokens: 500 })));
  (model.runner as FakeRunner).lost = true;
  for (const generation of all) await assertRejects(() => read(generation), DeviceLostError);
  assertEquals(engine.load().state, "failed");
  await assertRejects(() => read(engine.submit(request("c"))), DeviceLostError, "lost");
});

Deno.test("Engine fails only the request whose logits are not finite", async () => {
  const model = await openFakeModel();
  const runner = model.runner as FakeRunner;
  const collect = runner.collect.bind(runner);
  let steps = 0;
  runner.collect = () => {
    const tokens = collect();
    // Both requests are decoding by then, in the order they came.
    if (++steps === 5) tokens[0] = NOT_FINITE;
    return tokens;
  };
  await using engine = await Engine.open(() => Promise.resolve(model));
  const faulty = engine.submit(request("faulty", { maxTokens: 40 }));
  const sound = engine.submit(request("sound", { maxTokens: 40 }));
  const text = read(sound);
  await assertRejects(() => read(faulty), Error, "the logits are not finite");
  assertEquals((await text).ids, expected("sound", 40));
  assertEquals(engine.load().state, "ready");
  assertEquals(engine.load().pagesUsed, 0);
});

Deno.test("Engine finds nothing in its cache of what gave logits that are not finite", async () => {
  const model = await openFakeModel();
  const runner = model.runner as FakeRunner;
  const collect = runner.collect.bind(runner);
  let broken = true;
  runner.collect = () => {
    const tokens = collect();
    return broken ? tokens.map((token) => token < 0 ? token : NOT_FINITE) : tokens;
  };
  await using engine = await Engine.open(() => Promise.resolve(model));
  const text = "a prompt of more than one page ".repeat(4);
  await assertRejects(() => read(engine.submit(request(text))), Error, "the logits are not finite");
  // A step that was under way when the logits were read may hold its pages a moment longer.
  await until(() => engine.load().pagesUsed === 0, "the pages are free");
  assertEquals(engine.load().pagesCached, 0);
  broken = false;
  const again = await read(engine.submit(request(text)));
  assertEquals(again.ids, expected(text, 12));
  assertEquals((await read(engine.submit(request(text)))).ids, again.ids);
  assert(engine.load().pagesCached > 0);
});

Deno.test("Engine sees timers and cancels between steps, however many steps there are", async () => {
  await using engine = await openEngine({ stepMs: 2 });
  const generation = engine.submit(request("go on", { maxTokens: 400 }));
  const started = performance.now();
  const timer = setTimeout(() => generation.cancel(), 20);
  const { events } = await read(generation);
  clearTimeout(timer);
  const last = events.at(-1)!;
  assert(last.type === "finished" && last.reason === "cancelled");
  assert(performance.now() - started < 300, `${performance.now() - started} ms`);
});

Deno.test("Engine's generation may be read once, and joins the deltas that a slow reader has not read", async () => {
  await using engine = await openEngine();
  const slow = engine.submit(request("slow", { maxTokens: 50 }));
  await read(engine.submit(request("other", { maxTokens: 60 })));
  const { events, ids } = await read(slow);
  assertEquals(events.length, 3);
  assertEquals(ids, expected("slow", 50));
  await assertRejects(() => read(slow), TypeError, "iterated before");
});

Deno.test("Engine computes the prompt of a request for 0 tokens and finishes with no text", async () => {
  await using engine = await openEngine();
  const { events } = await read(engine.submit(request("warm this up", { maxTokens: 0 })));
  assertEquals(events.map((event) => event.type), ["started", "finished"]);
  assertEquals(engine.cachedPrefix(engine.tokenize("warm this up")), 12);
});

Deno.test("Engine ends everything when it is disposed", async () => {
  const engine = await openEngine({ stepMs: 1 });
  const generation = engine.submit(request("never ending", { maxTokens: 500 }));
  await new Promise((resolve) => setTimeout(resolve, 5));
  await engine[Symbol.asyncDispose]();
  const { events } = await read(generation);
  const last = events.at(-1)!;
  assert(last.type === "finished" && last.reason === "cancelled");
  await assertRejects(() => read(engine.submit(request("more"))), DeviceLostError, "closed");
});
