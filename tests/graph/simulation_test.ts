import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertRejects,
  assertThrows,
} from "@std/assert";
import fc from "fast-check";
import type { GenerateRequest } from "../../src/engine/types.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { parseCriteria } from "../../src/graph/criteria.ts";
import { GraphError } from "../../src/graph/graph_error.ts";
import { llama13bOnA100 as cost, stepMs } from "../../src/graph/sim/cost_model.ts";
import { SimulatedPool } from "../../src/graph/sim/simulated_pool.ts";
import { decode, encode } from "../../src/graph/sim/sim_tokenizer.ts";
import { VirtualClock } from "../../src/graph/sim/virtual_clock.ts";
import { call, input, openWorld, output, submit } from "./support.ts";

let nextId = 0;
const request = (text: string, maxTokens: number, rest: Partial<GenerateRequest> = {}) => ({
  id: `r${nextId++}`,
  prompt: { type: "parts" as const, parts: [{ type: "text" as const, text }] },
  maxTokens,
  sampling: greedy,
  ...rest,
});

async function finish(pool: SimulatedPool, what: GenerateRequest) {
  let text = "";
  for await (const event of pool.submit(what)) {
    if (event.type === "delta") text += event.text;
    if (event.type === "finished") return { text, ...event };
  }
  throw new Error("no end");
}

Deno.test("simulated tokens turn back into the text they came from", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 50 }), (text) => {
    assertEquals(decode(encode(text)), text);
  }));
});

Deno.test("simulated engine takes exactly the time of its closed form", async () => {
  const clock = new VirtualClock();
  await using pool = new SimulatedPool({ cost, clock });
  const prompt = "x".repeat(4 * 500);
  const result = await clock.run(finish(pool, request(prompt, 3)));
  const fill = stepMs(cost, { prefill: 500, prefillContext: 500 * 250, rows: 0, kvRead: 0 });
  const step = (context: number) =>
    stepMs(cost, { prefill: 0, prefillContext: 0, rows: 1, kvRead: context });
  assertAlmostEquals(result.usage.ttftMs, fill, 1e-9);
  assertAlmostEquals(clock.now(), fill + step(501) + step(502), 1e-9);
  assertEquals(result.reason, "length");
});

Deno.test("simulated engine shares pages, keeps them while there is room, and gives all back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          shared: fc.nat(8),
          own: fc.nat(8),
          out: fc.integer({ min: 1, max: 40 }),
          at: fc.nat(400),
        }),
        {
          minLength: 1,
          maxLength: 25,
        },
      ),
      fc.constantFrom("each" as const, "once" as const, "lca" as const),
      async (work, sharedAttention) => {
        const clock = new VirtualClock();
        await using pool = new SimulatedPool({
          cost: { ...cost, kvTokens: 64 * 24 },
          clock,
          sharedAttention,
        });
        await clock.run(Promise.all(work.map(async ({ shared, own, out, at }, i) => {
          await new Promise<void>((resolve) => clock.after(at, resolve));
          const prompt = "s".repeat(256 * shared) +
            String.fromCharCode(97 + i).repeat(256 * own + 4);
          const result = await finish(pool, request(prompt, out));
          assertEquals(result.usage.completionTokens, out);
          assert(pool.load()[0].pagesUsed <= 24);
        })));
        const load = pool.load()[0];
        assertEquals([load.pagesUsed, load.running, load.waiting], [0, 0, 0]);
        assert(load.pagesCached <= 24);
      },
    ),
    { numRuns: 40, seed: 3 },
  );
});

Deno.test("simulated engine: a request waits for the prefix that another one fills", async () => {
  for (const [pageTokens, cached] of [[64, 448], [8, 496]]) {
    const clock = new VirtualClock();
    await using pool = new SimulatedPool({ cost, clock, pageTokens });
    const prompt = "x".repeat(4 * 500);
    const both = await clock.run(Promise.all([
      finish(pool, request(prompt + "a", 3)),
      finish(pool, request(prompt + "b", 3)),
      finish(pool, request("y".repeat(4 * 500), 3)),
    ]));
    assertEquals(both.map(({ usage }) => usage.cachedTokens), [0, cached, 0]);
    assertLess(both[2].usage.ttftMs, both[1].usage.ttftMs, "others do not wait behind it");
    assertEquals(pool.load()[0].pagesTotal, Math.floor(cost.kvTokens / 64));
  }
});

Deno.test("simulated engine: latency work is quick beside bulk work, which goes on", async () => {
  const clock = new VirtualClock();
  await using pool = new SimulatedPool({ cost: { ...cost, latencyTokens: 2000 }, clock });
  let bulkDone = 0;
  const bulk = Array.from(
    { length: 20 },
    (_, i) =>
      finish(pool, request(`${i}`.repeat(4000).slice(0, 4000), 60, { criteria: "throughput" }))
        .then((result) => (bulkDone++, result)),
  );
  const urgent = new Promise<void>((resolve) => clock.after(3000, resolve)).then(() =>
    finish(pool, request("hello ".repeat(50), 40, { criteria: "latency" }))
  );
  const { usage } = await clock.run(urgent);
  assertLess(usage.decodeMs / 39, 40, "a step while it runs holds 2,000 tokens at most");
  await clock.run(Promise.all(bulk));
  assertEquals(bulkDone, 20);
});

Deno.test("virtual clock says so when nothing can happen any more", async () => {
  const clock = new VirtualClock();
  await assertRejects(() => clock.run(new Promise<void>(() => {})), Error, "nothing is due");
});

Deno.test("fills ahead shorten a chain, and change no text", async () => {
  const run = async (prefillAhead: boolean) => {
    await using world = openWorld({}, { planner: { prefillAhead } });
    let last = "";
    for (let i = 0; i < 6; i++) {
      const chunk = `${i} `.repeat(1600);
      last = submit(
        world,
        call("Read {{c}} after {{p}}: {{o}}", [
          input("c", chunk),
          input("p", last ? { id: last } : "none"),
          output("o", 25),
        ]),
      ).o;
    }
    const text = await world.clock.run(world.graph.read(world.session, last, "latency"));
    return { text, ms: world.clock.now() };
  };
  const [without, ahead] = [await run(false), await run(true)];
  assertEquals(ahead.text, without.text);
  assertLess(ahead.ms, 0.92 * without.ms);
});

Deno.test("a consumer's fill begins on what its producer has put out so far", async () => {
  await using world = openWorld();
  const long = submit(world, call("Write {{o}}", [output("o", 1200)])).o;
  const end =
    submit(world, call("Of {{i}} keep {{o}}", [input("i", { id: long }), output("o", 4)])).o;
  await world.clock.run(world.graph.read(world.session, end, "latency"));
  const consumer = world.session.nodes[1];
  assert(consumer.kind === "chain" && consumer.usage);
  assert(consumer.usage.cachedTokens >= 960, `${consumer.usage.cachedTokens} of 1,200 were there`);
  assertEquals(consumer.usage.promptTokens, 1 + 1200 + 2);
});

Deno.test("dependent calls start the moment their inputs are set", async () => {
  await using world = openWorld();
  const a = submit(world, call("A {{o}}", [output("o", 5)])).o;
  const b = submit(world, call("B {{i}} {{o}}", [input("i", { id: a }), output("o", 5)])).o;
  await world.clock.run(world.graph.read(world.session, b, "latency"));
  const [first, second] = world.session.nodes;
  assertEquals(second.times.started, first.times.finished);
});

Deno.test("a stream shows a variable's text while it grows", async () => {
  await using world = openWorld();
  const id = submit(world, call("Go {{o}}", [output("o", 10)])).o;
  const whole = world.graph.read(world.session, id, "latency");
  const pieces: [number, string][] = [];
  await world.clock.run((async () => {
    for await (const piece of world.session.variable(id).stream()) {
      pieces.push([world.clock.now(), piece]);
    }
  })());
  assertEquals(pieces.map(([, text]) => text).join(""), await whole);
  assertEquals(pieces.length, 10);
  assertLess(pieces[0][0], pieces[9][0]);
});

Deno.test("parallel producers of one consumer form a group, and a stage of one does not", async () => {
  await using world = openWorld();
  const maps = [0, 1, 2].map((i) => submit(world, call(`Map ${i} {{o}}`, [output("o", 4)])).o);
  const inputs = maps.map((id, i) => input(`i${i}`, { id }));
  const end = submit(world, call("{{i0}} {{i1}} {{i2}} {{o}}", [...inputs, output("o", 4)])).o;
  await world.clock.run(world.graph.read(world.session, end, "latency"));
  const groups = world.session.nodes.map((node) => node.group?.size);
  assertEquals(groups, [3, 3, 3, undefined]);
  assertEquals(world.session.nodes.map((node) => node.criteria), Array(4).fill("latency"));
});

Deno.test("what feeds a call is gathered at the cost of its nodes, not of the ways through them", async () => {
  const nativeFunctions = { run: () => Promise.reject(new Error("is not called")) };
  await using world = openWorld({}, { nativeFunctions });
  const { graph, session } = world;
  let pair = ["a", "b"].map((name) => ({ id: graph.createVariable(session, name).id }));
  for (let i = 0; i < 60; i++) {
    const made = graph.submit(session, {
      kind: "native",
      functionName: "f",
      code: "",
      timeoutMs: 1000,
      parameters: [
        input("a", pair[0]),
        input("b", pair[1]),
        { name: "x", isOutput: true },
        { name: "y", isOutput: true },
      ],
    });
    pair = made.parameters.filter((info) => info.is_output).map(({ var_id }) => ({ id: var_id }));
  }
  const parameters = [input("a", pair[0]), input("b", pair[1]), output("o", 4)];
  const { o } = submit(world, call("{{a}} {{b}} {{o}}", parameters));
  graph.demand(session, session.variable(o), "latency");
  assertEquals(session.nodes.every((node) => node.active), true);
});

Deno.test("parseCriteria takes the names of criteria and no others", () => {
  assertEquals(parseCriteria("TPOT"), "TPOT");
  for (const text of ["constructor", "toString", "", 1, undefined]) {
    assertThrows(() => parseCriteria(text), GraphError, "criteria");
  }
});

Deno.test("a stricter reader brings forward what waits for an engine already", async () => {
  await using world = openWorld({}, { planner: { tasksPerEngine: 1 } });
  const { graph, session, clock } = world;
  const ids = Array.from(
    { length: 12 },
    (_, i) => submit(world, call(`Job ${i} {{o}}`, [output("o", 8)])).o,
  );
  const order: number[] = [];
  const all = ids.map((id, i) =>
    graph.read(session, id, "throughput").then(() => order.push(i), () => order.push(-i))
  );
  await clock.run(Promise.resolve());
  const hurried = graph.read(session, ids[11], "latency");
  graph.cancelVariable(session, ids[10]);
  await clock.run(Promise.all([...all, hurried]));
  // One ran already, and one that is cancelled ends at once.
  assertEquals(order.slice(0, 3), [-10, 0, 11]);
  assertEquals(order.length, 12);
  assertEquals(graph.chainCount, 0);
});

Deno.test("criteria go backwards: a later, stricter reader raises what an earlier one asked for", async () => {
  await using world = openWorld();
  const a = submit(world, call("A {{o}}", [output("o", 4)])).o;
  const b = submit(world, call("B {{i}} {{o}}", [input("i", { id: a }), output("o", 4)])).o;
  const lax = world.graph.read(world.session, b, "throughput");
  const [first, second] = world.session.nodes;
  assertEquals([first.criteria, second.criteria], ["throughput", "throughput"]);
  const strict = world.graph.read(world.session, b, "TTFT");
  assertEquals([first.criteria, second.criteria], ["latency", "TTFT"]);
  await world.clock.run(Promise.all([lax, strict]));
});
