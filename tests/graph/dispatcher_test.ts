import { assertEquals, assertGreater, assertRejects } from "@std/assert";
import { CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import type { EngineLoad, GenerateRequest, Generation } from "../../src/engine/types.ts";
import { describeSession } from "../../src/graph/describe_session.ts";
import { GraphError } from "../../src/graph/graph_error.ts";
import { GraphRuntime } from "../../src/graph/graph_runtime.ts";
import { SemanticVariable } from "../../src/graph/semantic_variable.ts";
import { llama13bOnA100 as cost } from "../../src/graph/sim/cost_model.ts";
import { SimulatedPool } from "../../src/graph/sim/simulated_pool.ts";
import { VirtualClock } from "../../src/graph/sim/virtual_clock.ts";
import { call, output } from "./support.ts";

/** A pool whose state and refusals the test decides. */
class MoodyPool extends SimulatedPool {
  state: EngineLoad["state"] = "ready";
  refusals: Error[] = [];
  requests: GenerateRequest[] = [];

  override submit(request: GenerateRequest): Generation {
    const refusal = this.refusals.shift();
    if (refusal) throw refusal;
    this.requests.push(request);
    return super.submit(request);
  }

  override load(): EngineLoad[] {
    const pagesTotal = this.state === "ready" ? 1000 : 0;
    return super.load().map((load) => ({ ...load, state: this.state, pagesTotal }));
  }
}

function open(state: EngineLoad["state"] = "ready") {
  const clock = new VirtualClock();
  const pool = new MoodyPool({ cost, clock });
  pool.state = state;
  const graph = new GraphRuntime({ pool, clock });
  const session = graph.openSession("scope");
  const read = (text = "Say {{o}}") => {
    const { parameters } = graph.submit(session, call(text, [output("o", 3)]));
    return graph.read(session, parameters.at(-1)!.var_id, "latency");
  };
  return { clock, pool, graph, session, read };
}

Deno.test("Dispatcher waits for an engine that is starting, and fills its prefix index then", async () => {
  const { clock, pool, graph, session } = open("starting");
  await using _ = graph;
  clock.after(3000, () => pool.state = "ready");
  const template = `${"shared ".repeat(300)}{{o}}`;
  for (let i = 0; i < 3; i++) {
    const { parameters } = graph.submit(session, call(template, [output("o", 3)]));
    await clock.run(graph.read(session, parameters[0].var_id, "latency"));
  }
  const cached = session.nodes.map((node) =>
    node.kind === "chain" && node.usage!.cachedTokens > 400
  );
  assertEquals(cached, [false, true, true]);
});

Deno.test("Dispatcher fails what waits for an engine that fails for good", async () => {
  const { clock, pool, graph, read } = open("starting");
  await using _ = graph;
  clock.after(3000, () => pool.state = "failed");
  const error = await assertRejects(() => clock.run(read()), GraphError, "has failed");
  assertEquals(error.code, "unavailable");
  await assertRejects(() => clock.run(read()), GraphError, "has failed");
});

Deno.test("Dispatcher comes back after a full queue, when it is told to", async () => {
  const { clock, pool, graph, read } = open();
  await using _ = graph;
  pool.refusals = [new CapacityError("full", 7), new CapacityError("full", 2)];
  await clock.run(read());
  assertEquals(pool.requests.length, 1);
  assertEquals(Math.floor(clock.now() / 1000), 9);
});

Deno.test("Dispatcher gives up on an engine that is lost again and again", async () => {
  const clock = new VirtualClock();
  let tries = 0;
  await using pool = new SimulatedPool({
    cost,
    clock,
    fault: () => (tries++, new DeviceLostError("gone")),
  });
  await using graph = new GraphRuntime({ pool, clock });
  const session = graph.openSession();
  const { parameters } = graph.submit(session, call("Say {{o}}", [output("o", 3)]));
  await assertRejects(
    () => clock.run(graph.read(session, parameters[0].var_id, "latency")),
    DeviceLostError,
    "gone",
  );
  assertEquals(tries, 4);
});

Deno.test("Dispatcher sends constants as trusted text, values as plain text, and the tenant as scope", async () => {
  const { clock, pool, graph, session } = open();
  await using _ = graph;
  const { parameters } = graph.submit(
    session,
    call("<|user|>{{i}}<|bot|>{{o}} then {{p}}", [
      { name: "i", isOutput: false, value: "<|evil|>" },
      output("o", 2),
      output("p", 2),
    ]),
  );
  await clock.run(graph.read(session, parameters[2].var_id, "TPOT"));
  const [first, second] = pool.requests;
  const fills = [
    { type: "text", text: "<|user|>", special: true },
    { type: "text", text: "<|evil|>" },
    { type: "text", text: "<|bot|>", special: true },
  ];
  assertEquals(first.prompt as unknown, { type: "parts", parts: fills });
  const parts = second.prompt.type === "parts" ? second.prompt.parts : [];
  assertEquals(parts.slice(0, 3) as unknown[], fills);
  assertEquals(
    parts[3].type === "tokens" && parts[3].ids.length,
    2,
    "its own output goes back as tokens",
  );
  assertEquals(parts[4] as unknown, { type: "text", text: " then ", special: true });
  assertEquals([first.cacheScope, first.criteria], ["scope", "latency"]);
});

Deno.test("SemanticVariable can be produced again until a stream has shown some of it", async () => {
  const variable = new SemanticVariable("id", "name");
  variable.append("lost ");
  assertEquals([variable.restart(), variable.partial], [true, ""]);
  variable.append("shown ");
  const stream = variable.stream();
  assertEquals((await stream.next()).value, "shown ");
  assertEquals([variable.restart(), variable.partial], [false, "shown "]);
  await stream.return();
});

Deno.test("Dispatcher counts the tokens of a call while it runs, and of one that is cancelled", async () => {
  const { clock, graph, session } = open();
  await using _ = graph;
  const { parameters } = graph.submit(session, call("Say {{o}}", [output("o", 1000)]));
  const id = parameters[0].var_id;
  const reading = assertRejects(() => graph.read(session, id, "latency"), GraphError, "cancelled");
  await clock.run(new Promise<void>((done) => clock.after(1000, done)));
  const { completion_tokens: running } = describeSession(session).totals;
  assertGreater(running, 10);
  graph.cancelVariable(session, id);
  await reading;
  assertEquals(describeSession(session).totals.completion_tokens, running);
});
