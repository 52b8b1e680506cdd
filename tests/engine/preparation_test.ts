import { assert, assertEquals } from "@std/assert";
import { Engine } from "../../src/engine/engine.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { StepRunner } from "../../src/engine/step.ts";
import { type FakeModelOptions, openFakeModel } from "../support/fake_model.ts";

/** An engine whose runner prepares `pieces` times, each of `pieceMs` blocking milliseconds, and fails at `failAt`. */
async function open(
  pieces: number,
  { pieceMs = 0, failAt = Infinity, ...options }: FakeModelOptions & {
    pieceMs?: number;
    failAt?: number;
  } = {},
) {
  const counts = { prepared: 0, running: 0, inFlight: 0 };
  const engine: Engine = await Engine.open(async () => {
    const model = await openFakeModel(options);
    const runner: StepRunner = model.runner;
    const { submit, collect } = runner;
    runner.submit = (batch) => {
      counts.inFlight++;
      submit.call(runner, batch);
    };
    runner.collect = () => {
      counts.inFlight--;
      return collect.call(runner);
    };
    runner.prepare = () => {
      assertEquals(counts.inFlight, 0);
      if (engine.load().running > 0) counts.running++;
      if (counts.prepared === failAt) return Promise.reject(new Error("no such kernel"));
      const end = performance.now() + pieceMs;
      while (performance.now() < end);
      return Promise.resolve(++counts.prepared < pieces);
    };
    return model;
  });
  const generate = async (maxTokens: number) => {
    const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text: "hello" }] };
    let finished = false;
    const id = crypto.randomUUID();
    for await (const event of engine.submit({ id, prompt, maxTokens, sampling: greedy })) {
      finished = event.type === "finished" && event.reason === "length";
    }
    return finished;
  };
  return { engine, counts, generate };
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

Deno.test("an idle engine prepares until nothing is left, and no more", async () => {
  const { engine, counts, generate } = await open(4);
  await using _ = engine;
  assertEquals(counts.prepared, 0, "not before somebody may ask");
  for (let i = 0; i < 100 && counts.prepared < 4; i++) await wait(20);
  assertEquals(counts, { prepared: 4, running: 0, inFlight: 0 });
  assert(await generate(8));
  await wait(150);
  assertEquals(counts.prepared, 4);
});

Deno.test("a busy engine prepares too, for a small part of the time and between steps", async () => {
  const pieceMs = 5;
  const { engine, counts, generate } = await open(1000, { pieceMs, stepMs: 1 });
  await using _ = engine;
  const start = performance.now();
  assert(await generate(400));
  const share = counts.running * pieceMs / (performance.now() - start);
  assert(counts.running >= 2, `${counts.running} pieces`);
  assert(share < 0.1, `${share} of the time`);
});

Deno.test("an engine whose preparation fails goes on without", async () => {
  const { engine, counts, generate } = await open(4, { failAt: 1 });
  await using _ = engine;
  await wait(250);
  assertEquals(counts.prepared, 1);
  assert(await generate(8));
});

Deno.test("an engine is disposed while it prepares", async () => {
  const { engine, counts } = await open(1e6);
  await wait(120);
  await engine[Symbol.asyncDispose]();
  const { prepared } = counts;
  assert(prepared > 0);
  await wait(120);
  assertEquals(counts.prepared, prepared);
});
