import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { llama13bOnA100 } from "../../src/graph/sim/cost_model.ts";
import { GraphError } from "../../src/graph/graph_error.ts";
import type { GraphRuntime } from "../../src/graph/graph_runtime.ts";
import type { Session } from "../../src/graph/session.ts";
import { call, input, openWorld, output, submit, type World } from "./support.ts";
import { heldBytes } from "../support/held_bytes.ts";

/** A random application: each call reads some earlier outputs or literals, and has one to three outputs. */
interface Plan {
  calls: { sources: number[]; outputs: number }[];
}

const planArbitrary: fc.Arbitrary<Plan> = fc.array(
  fc.record({
    sources: fc.array(fc.nat(30), { maxLength: 4 }),
    outputs: fc.integer({ min: 1, max: 3 }),
  }),
  { minLength: 1, maxLength: 12 },
).map((calls) => ({ calls }));

/** Builds a plan; returns the ids of all outputs in order. */
function build(world: World, plan: Plan): string[] {
  const ids: string[] = [];
  plan.calls.forEach(({ sources, outputs }, number) => {
    const before = [...ids];
    const inputs = sources.map((source, i) =>
      input(
        `i${i}`,
        before.length > 0 && source % 3 ? { id: before[source % before.length] } : `s${source}`,
      )
    );
    const outs = Array.from({ length: outputs }, (_, i) => output(`o${i}`, 3 + (number + i) % 5));
    const template = `Call ${number}: ${inputs.map(({ name }) => `{{${name}}}`).join(", ")} gives ${
      outs.map(({ name }) => `{{${name}}}`).join(" and ")
    }`;
    const made = submit(world, call(template, [...inputs, ...outs]));
    for (const { name } of outs) ids.push(made[name]);
  });
  return ids;
}

async function values(world: World, ids: string[], order: number[]): Promise<string[]> {
  const results: string[] = new Array(ids.length);
  const criteria = ["latency", "throughput", "TTFT", "TPOT"];
  await world.clock.run(Promise.all(order.map(async (i) => {
    results[i] = await world.graph.read(world.session, ids[i], criteria[i % 4]);
  })));
  return results;
}

Deno.test("a graph's result does not depend on order, engines, sharing or scheduling", async () => {
  await fc.assert(
    fc.asyncProperty(
      planArbitrary,
      fc.infiniteStream(fc.nat()),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      async (plan, random, engines, smart) => {
        await using reference = openWorld({ sharing: "none" });
        const ids = build(reference, plan);
        const expected = await values(reference, ids, ids.map((_, i) => i));
        await using world = openWorld({ engines }, {
          planner: {
            affinity: smart,
            applicationFirst: smart,
            shareFills: smart,
            tasksPerEngine: 3,
          },
        });
        const others = build(world, plan);
        const order = others.map((_, i) => ({ i, key: random.next().value }))
          .sort((a, b) => a.key - b.key).map(({ i }) => i);
        assertEquals(await values(world, others, order), expected);
      },
    ),
    { numRuns: 60, seed: 7 },
  );
});

Deno.test("no reader hangs, whatever fails, is cancelled, or runs out of time", async () => {
  await fc.assert(
    fc.asyncProperty(
      planArbitrary,
      fc.array(fc.nat(40), { maxLength: 3 }),
      fc.array(fc.nat(40), { maxLength: 3 }),
      fc.boolean(),
      async (plan, failing, cancelled, close) => {
        await using world = openWorld({
          fault: (prompt) =>
            failing.some((n) => prompt.startsWith(`Call ${n}:`))
              ? new RangeError("broken")
              : undefined,
        });
        const ids = build(world, plan);
        const readers = ids.map((id) =>
          world.graph.read(world.session, id, "latency").then(
            () => "value",
            (error) => error.message,
          )
        );
        for (const n of cancelled) {
          world.clock.after(n * 10, () => {
            if (!world.session.closed) {
              world.graph.cancelVariable(world.session, ids[n % ids.length]);
            }
          });
        }
        if (close) world.clock.after(300, () => world.graph.closeSession(world.session.id));
        const ends = await world.clock.run(Promise.all(readers));
        for (const end of ends) assert(/^(value|broken|.*(cancelled|closed).*)$/.test(end), end);
        assertEquals(world.pool.load()[0].running, 0);
        assertEquals(world.pool.load()[0].pagesUsed, 0);
        assertEquals(world.graph.chainCount, 0);
      },
    ),
    { numRuns: 60, seed: 11 },
  );
});

Deno.test("topological orders hold after any sequence of accepted bindings, cycles are refused whole", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(9), fc.nat(9)), { minLength: 1, maxLength: 25 }),
      async (links) => {
        await using world = openWorld();
        const { graph, session } = world;
        const pool = Array.from({ length: 10 }, (_, i) => graph.createVariable(session, `v${i}`));
        const edges: [number, number][] = [];
        const reaches = (from: number, to: number): boolean =>
          from === to || edges.some(([a, b]) => a === from && reaches(b, to));
        for (const [from, to] of links) {
          const taken = edges.some(([, b]) => b === to);
          const cycle = reaches(to, from);
          const before = session.nodes.length;
          try {
            graph.submit(
              session,
              call("{{i}} {{o}}", [
                input("i", pool[from]),
                output("o", 2, { variableId: pool[to].id }),
              ]),
            );
            assert(!taken && !cycle, "accepted what must be refused");
            edges.push([from, to]);
          } catch (error) {
            assert(error instanceof GraphError && (taken || cycle), String(error));
            assertEquals(session.nodes.length, before);
          }
        }
        for (const node of session.nodes) {
          for (const { producer } of node.inputs) {
            if (!producer) continue;
            assertLess(producer.order, node.order);
            assertLess(producer.depth, node.depth);
          }
        }
      },
    ),
    { numRuns: 100, seed: 5 },
  );
});

Deno.test("a failure in a chain of 2,000 calls reaches its last reader", async () => {
  await using world = openWorld({ fault: () => new RangeError("broken") });
  let source: { id: string } | string = "start";
  for (let i = 0; i < 2000; i++) {
    source = { id: submit(world, call("{{i}} {{o}}", [input("i", source), output("o", 1)])).o };
  }
  const last = (source as { id: string }).id;
  await assertRejects(
    () => world.clock.run(world.graph.read(world.session, last, "latency")),
    RangeError,
    "broken",
  );
});

Deno.test("a session of 10,000 variables and 2,000 chains costs memory in proportion", async () => {
  const bytes = async (scale: number) => {
    await using world = openWorld();
    const before = heldBytes();
    fill(world, 200 * scale);
    const after = heldBytes();
    assertEquals(world.session.variables.size, 1000 * scale);
    return (after - before) / scale;
  };
  await bytes(2);
  const small = await bytes(2);
  const large = await bytes(10);
  assertLess(large, 1.3 * small, `${small} bytes per 1,000 variables, then ${large}`);
});

/** `chains` calls of four inputs each, in chains of ten. */
function fill(world: World, chains: number): string[] {
  const ends: string[] = [];
  let source: { id: string } | string = "start";
  for (let i = 0; i < chains; i++) {
    if (i % 10 === 0) source = "start";
    const rest = [0, 1].map((k) => input(`l${k}`, `literal ${i} ${k}`));
    const preset = world.graph.createVariable(world.session, "p", "preset");
    const links = typeof source === "string" ? input("i", source) : input("i", source);
    if (typeof source !== "string") world.graph.createVariable(world.session, "q", "more");
    const made = submit(
      world,
      call("{{p}} {{i}} {{l0}} {{l1}} {{o}}", [input("p", preset), links, ...rest, output("o", 1)]),
    );
    source = { id: made.o };
    if (i % 10 === 9) ends.push(made.o);
  }
  return ends;
}

Deno.test("limits: values, variables and calls beyond a session's bounds are refused", async () => {
  await using world = openWorld({}, {
    limits: { variables: 5, valueChars: 10, totalChars: 15, calls: 2 },
  });
  const { graph, session } = world;
  const refused = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      assert(error instanceof GraphError && error.code === "limit", String(error));
      return;
    }
    throw new Error("was not refused");
  };
  refused(() => graph.createVariable(session, "x", "12345678901"));
  graph.createVariable(session, "x", "1234567890");
  refused(() => graph.createVariable(session, "x", "123456"));
  for (let i = 0; i < 4; i++) graph.createVariable(session, "x");
  refused(() => graph.createVariable(session, "x"));
});

Deno.test("limits: what is refused counts for nothing", async () => {
  await using world = openWorld({}, { limits: { totalChars: 100, variables: 3 } });
  const { graph, session } = world;
  const filler = "x".repeat(60);
  for (let i = 0; i < 3; i++) {
    assertThrows(() => submit(world, call(`${filler} {{missing}}`, [])), GraphError, "missing");
  }
  for (let i = 0; i < 3; i++) graph.createVariable(session, "v");
  assertThrows(() => graph.createVariable(session, "v", filler), GraphError, "variables");
  session.variables.clear();
  submit(world, call(`${filler} {{o}}`, [output("o", 1)]));
});

Deno.test("limits: one key of several leaves others sessions, and has more when it is alone", async () => {
  const open = (graph: GraphRuntime, tenant: string) => {
    const sessions: Session[] = [];
    let refusal = "";
    while (refusal === "") {
      try {
        sessions.push(graph.openSession(tenant));
      } catch (error) {
        assert(error instanceof GraphError && error.code === "limit", String(error));
        refusal = error.message;
      }
    }
    return { sessions, refusal };
  };
  await using alone = openWorld({}, { maxSessions: 17 });
  // One is open already.
  const all = open(alone.graph, "a");
  assertEquals([all.sessions.length, all.refusal], [
    16,
    "Open a session: all sessions of the server hold 17 sessions, expected at most 17",
  ]);
  await using world = openWorld({}, { maxSessions: 16, tenants: 3 });
  const { graph } = world;
  graph.closeSession(world.session.id);
  const first = open(graph, "a");
  const second = open(graph, "b");
  assertEquals([first.sessions.length, second.sessions.length], [8, 4]);
  assertEquals(
    second.refusal,
    "Open a session: the sessions of this key hold 4 sessions, expected at most half of the 8 that other keys leave",
  );
  for (const { id } of first.sessions) graph.closeSession(id);
  assertEquals(open(graph, "b").sessions.length, 4);
});

Deno.test("limits: the characters of all sessions together are bounded, fairly, and given back", async () => {
  await using world = openWorld({}, { maxChars: 20_000, tenants: 2 });
  const { graph } = world;
  graph.closeSession(world.session.id);
  assertEquals(graph.charCount, 0);
  const text = "x".repeat(4000);
  const [one, two] = [1, 2].map(() => graph.openSession("a"));
  graph.createVariable(one, "v", text);
  const late = graph.createVariable(two, "w", text);
  assertEquals(graph.charCount, 9024);
  const refused = (work: () => unknown, words: string) => assertThrows(work, GraphError, words);
  const share = "the sessions of this key hold 9024 characters, expected at most half of the 20000";
  refused(() => graph.createVariable(two, "y", text), `Variable y: ${share}`);
  const long = call(`${text} {{o}}`, [output("o", 1)]);
  refused(() => graph.submit(two, long), `template: ${share}`);
  assertEquals([graph.charCount, late.state, two.variables.size], [9024, "ready", 1]);
  // Many that are empty hold memory too.
  const three = graph.openSession("b");
  refused(() => {
    while (true) graph.createVariable(three, "e");
  }, "Variable e: the sessions of this key hold 5120 characters");
  refused(() => graph.createVariable(three, "big", "x".repeat(6000)), "all sessions of the server");
  for (const { id } of [one, two]) graph.closeSession(id);
  graph.createVariable(three, "v", text);
  assertEquals(graph.charCount, 5120 + 4512);
  graph.closeSession(three.id);
  assertEquals(graph.charCount, 0);
});

Deno.test("a session expires whose calls wait for a client that has left, not one whose calls run", async () => {
  await using world = openWorld({ cost: { ...llama13bOnA100, overheadMs: 200 } }, {
    sessionLifeSpanMs: 1000,
  });
  const { graph, clock } = world;
  const sessions = [1, 2].map(() => graph.openSession());
  const unset = graph.createVariable(sessions[0], "unset");
  const wanted = { outputCriteria: "latency" };
  graph.submit(sessions[0], call("{{i}} {{o}}", [input("i", unset), output("o", 1)], wanted));
  const { parameters } = graph.submit(sessions[1], call("Say {{o}}", [output("o", 100)], wanted));
  await clock.run(sessions[1].variable(parameters[0].var_id).wait());
  assertEquals(sessions.map(({ closed }) => closed), [true, false]);
});

Deno.test("sessions that expire together end a hundred at a time", async () => {
  await using world = openWorld({}, { sessionLifeSpanMs: 1000 });
  const { graph, clock } = world;
  for (let i = 1; i < 250; i++) graph.openSession();
  const left = async (ms: number) => {
    await clock.run(new Promise<void>((done) => clock.after(ms, done)));
    return graph.sessionCount;
  };
  assertEquals([await left(5001), await left(50), await left(50)], [150, 50, 0]);
});

Deno.test("limits: names, literals of native functions and transforms count among the characters", async () => {
  const nativeFunctions = { run: () => Promise.resolve({}) };
  await using world = openWorld({}, { maxChars: 10_000, nativeFunctions });
  const { graph, session } = world;
  const long = "x".repeat(12_000);
  const refused = (work: () => unknown) => assertThrows(work, GraphError, "10000");
  refused(() => graph.createVariable(session, long));
  const native = (functionName: string, value: unknown) =>
    graph.submit(session, {
      kind: "native",
      functionName,
      code: "",
      timeoutMs: 1000,
      parameters: [{ name: "i", isOutput: false, value }, output("o")],
    });
  refused(() => native(long, ""));
  refused(() => native("f", long));
  refused(() => native("f", { list: [[long]] }));
  const unread = input("unread", long);
  refused(() => graph.submit(session, call("Say {{o}}", [unread, output("o")])));
  const transforms = [{ kind: "template" as const, template: long }];
  refused(() => graph.submit(session, call("Say {{o}}", [output("o", 1, { transforms })])));
  refused(() => graph.submit(session, call("Say {{o}}", [output("o")], { models: [long] })));
  assertEquals([graph.charCount, session.variables.size, session.nodes.length], [0, 0, 0]);
  native("f", [1, 2]);
  graph.submit(session, call("Say {{o}}", [output("o", 1)], { functionName: "says" }));
  assertEquals(graph.charCount, 2 * 512 + "Say {{o}}".length);
});
