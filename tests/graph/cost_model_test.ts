import { assertAlmostEquals, assertEquals } from "@std/assert";
import { fitEngine } from "../../scripts/bench/apps/engine_calibration.ts";
import { type CostModel, llama13bOnA100, stepMs } from "../../src/graph/sim/cost_model.ts";
import { SimulatedPool } from "../../src/graph/sim/simulated_pool.ts";
import { VirtualClock } from "../../src/graph/sim/virtual_clock.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";

/** An engine whose every constant is known. */
const known: CostModel = {
  ...llama13bOnA100,
  measured: {
    table: [[1, 8], [8, 15], [9, 21], [16, 24], [128, 110], [512, 430]],
    promptTokens: 1,
    tileTokens: 16,
  },
  attentionMsPerToken: 0.003,
  prefillAttentionMs: 0.4,
  sharedReads: { furtherRow: 0.25, leastTokens: 1800 },
};

const decode = (rows: number, kvRead = 0) =>
  stepMs(known, { prefill: 0, prefillContext: 0, rows, kvRead });

Deno.test("stepMs takes a measured table at its points, straight lines between, and goes on as steep after the last", () => {
  assertAlmostEquals(decode(1), 8);
  assertAlmostEquals(decode(9), 21);
  assertAlmostEquals(decode(4), 8 + 3);
  // A prompt's tokens and rows count together; attention comes on top.
  const work = { prefill: 508, prefillContext: 1000, rows: 4, kvRead: 100 };
  assertAlmostEquals(stepMs(known, work), 430 + 0.4 + 0.3);
  assertAlmostEquals(decode(896), 430 + 320);
  // Beyond one tile, tiles count whole; a prompt token can stand for more than one of the engine's.
  assertAlmostEquals(decode(17), decode(32));
  const measured = { ...known.measured!, promptTokens: 1.26 };
  const half = { prefill: 100, prefillContext: 0, rows: 2, kvRead: 0 };
  assertAlmostEquals(stepMs({ ...known, measured }, half), 110);
});

/** What a calibration would measure of `known`. */
function measurements() {
  const prompt = (tokens: number) => {
    let fillMs = 0;
    for (let at = 0; at < tokens; at += 512) {
      const prefill = Math.min(512, tokens - at);
      const prefillContext = prefill * (at + prefill / 2);
      fillMs += stepMs(known, { prefill, prefillContext, rows: 0, kvRead: 0 });
    }
    return { tokens, fillMs, stepMs: decode(1, tokens) };
  };
  return {
    steps: [1, 8, 9, 16].map((rows): [number, number] => [rows, decode(rows)]),
    prompts: [64, 65, 128, 512, 2048].map(prompt),
    sharingMs: decode(8, 2048 * (1 + 7 * 0.25)),
  };
}

Deno.test("fitEngine finds the constants that made the measurements, in tokens of any size", () => {
  const { steps, prompts, sharingMs } = measurements();
  for (const scale of [1, 2]) {
    const { cost } = fitEngine(steps, prompts, sharingMs, { pagesTotal: 100, mixedTokens: 64 })(
      scale,
    );
    assertEquals(cost.measured!.tileTokens, 16);
    assertAlmostEquals(cost.attentionMsPerToken, 0.003 * scale, 1e-9);
    assertAlmostEquals(cost.sharedReads!.furtherRow, 0.25, 1e-9);
    assertAlmostEquals(cost.prefillAttentionMs, 0.4 * scale * scale, 1e-9);
    const work = { prefill: 100 / scale, prefillContext: 0, rows: 3, kvRead: 500 / scale };
    const real = stepMs(known, { prefill: 100, prefillContext: 0, rows: 3, kvRead: 500 });
    assertAlmostEquals(stepMs(cost, work), real, 1e-6);
  }
});

/** Milliseconds until `rows` requests behind one prefix of `tokens` have 33 tokens each, less those until they have 1. */
async function sharedDecode(rows: number, tokens: number, cost: CostModel): Promise<number> {
  const run = async (maxTokens: number) => {
    const clock = new VirtualClock();
    await using pool = new SimulatedPool({ clock, cost, sharedAttention: "once", pageTokens: 8 });
    const request = async (id: string, most: number) => {
      const text = "abcd".repeat(tokens);
      const generation = pool.submit({
        id,
        prompt: { type: "parts", parts: [{ type: "text", text }] },
        maxTokens: most,
        ignoreEos: true,
        sampling: greedy,
      });
      for await (const event of generation) if (event.type === "finished") return;
    };
    await clock.run((async () => {
      await request("first", 0);
      await Promise.all(Array.from({ length: rows }, (_, i) => request(`${i}`, maxTokens)));
    })());
    return clock.now();
  };
  return await run(33) - await run(1);
}

Deno.test("simulated engine charges every row for a shared prefix, and shares none that is too short to gain", async () => {
  const own = (tokens: number) => 32 * (tokens * 8 * 0.003);
  const steps = 32 * decode(8);
  const read = async (tokens: number) => await sharedDecode(8, tokens, known) - steps;
  // 1 + 7 / 4 of 8 reads, beside each row's own tokens.
  assertAlmostEquals(await read(800) / own(800), 2.75 / 8, 0.03);
  assertAlmostEquals(await read(200) / own(200), 1, 0.15);
  const free = { ...known, sharedReads: undefined };
  assertAlmostEquals((await sharedDecode(8, 800, free) - steps) / own(800), 1 / 8, 0.03);
});
