import { assert, assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import type { Carrier, CarrierFactory } from "../../src/engine/carrier.ts";
import { HostedEnginePool } from "../../src/engine/engine_pool.ts";
import { Rng } from "../../src/common/rng.ts";
import { EngineHost } from "../../src/engine/host.ts";
import type { FromHost, ToHost } from "../../src/engine/host_messages.ts";
import { ProcessCarrier } from "../../src/engine/process_carrier.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { SupervisionOptions } from "../../src/engine/supervised_host.ts";
import type { GenerateEvent, GenerateRequest, Generation } from "../../src/engine/types.ts";
import { FakeCodec, type FakeModelOptions, fakeVocabulary } from "../support/fake_model.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";
import { until } from "../support/until.ts";
import { expectedTokens } from "../support/fake_runner.ts";

let names = 0;

function request(text: string, options: Partial<GenerateRequest> = {}): GenerateRequest {
  const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text }] };
  return { id: `p${names++}`, prompt, maxTokens: 12, sampling: greedy, ...options };
}

function expected(text: string, count: number): number[] {
  return expectedTokens(new FakeCodec().encode(text), count, greedy, fakeVocabulary);
}

async function read(generation: Generation): Promise<{ events: GenerateEvent[]; ids: number[] }> {
  const events: GenerateEvent[] = [];
  for await (const event of generation) events.push(event);
  return { events, ids: events.flatMap((event) => event.type === "delta" ? event.ids : []) };
}

/** A host in this isolate that can be made to die, and to lose what was sent to it. */
class LocalCarrier implements Carrier {
  readonly gone: Promise<string>;
  readonly sent: ToHost[] = [];
  readonly host: EngineHost;
  muted = false;
  #end!: (reason: string) => void;
  #dead = false;

  constructor(onMessage: (message: FromHost) => void) {
    this.gone = new Promise((resolve) => this.#end = resolve);
    this.host = new EngineHost((message) => {
      if (!this.#dead && !this.muted) onMessage(JSON.parse(JSON.stringify(message)));
    }, () => this.kill());
  }

  send(message: ToHost): void {
    if (this.#dead) return;
    this.sent.push(message);
    if (message.type === "close") this.die("exit code 0");
    else this.host.handle(JSON.parse(JSON.stringify(message)));
  }

  kill(): void {
    this.die("signal SIGKILL");
  }

  die(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.host.close().then(() => this.#end(reason));
  }
}

/** A pool of one fake model on local carriers, and its carriers in order of birth. */
function openPool(
  model: FakeModelOptions = {},
  supervision: Partial<SupervisionOptions> = {},
): { pool: HostedEnginePool; carriers: LocalCarrier[] } {
  const carriers: LocalCarrier[] = [];
  const carrier: CarrierFactory = (onMessage) => {
    carriers.push(new LocalCarrier(onMessage));
    return carriers.at(-1)!;
  };
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model, module: fakeModelModule }],
    carrier,
    supervision: { restartDelaysMs: [1], ...supervision },
  });
  return { pool, carriers };
}

Deno.test("HostedEnginePool steps requests of one turn together from their first step on", async () => {
  await using pool = new HostedEnginePool({
    models: [{ id: "fake", model: { maxSequences: 8 }, module: fakeModelModule }],
  });
  await pool.models();
  for (let round = 0; round < 5; round++) {
    const before = pool.load()[0].steps;
    const all = Array.from(
      { length: 8 },
      () => read(pool.submit(request("abc", { maxTokens: 6 }))),
    );
    await Promise.all(all);
    // The load of an engine that became idle comes right after its last events.
    for (let i = 0; pool.load()[0].running > 0 && i < 100; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
    assertEquals(pool.load()[0].steps - before, 6);
  }
});

Deno.test("HostedEnginePool runs requests sent before its model was open, and reports models and load", async () => {
  const { pool } = openPool({ openMs: 5 });
  await using _ = pool;
  assertEquals(pool.load()[0].state, "starting");
  const early = pool.submit(request("early"));
  const [info] = await pool.models();
  assertEquals([info.id, info.vocabularySize, info.contextLength], ["fake", fakeVocabulary, 4096]);
  assertEquals((await read(early)).ids, expected("early", 12));
  assertEquals(await pool.tokenize("abc"), [0, 1, 2]);
  assertEquals(await pool.detokenize([0, 1, 2]), "abc");
  assertEquals(await pool.cachedPrefix(await pool.tokenize("early")), 5);
  await until(() => pool.load()[0].pagesUsed === 0, "pages come back");
  const [load] = pool.load();
  assertEquals([load.state, load.waiting, load.running, load.generatedTokens], ["ready", 0, 0, 12]);
});

Deno.test("HostedEnginePool sends the deltas of a step in one message", async () => {
  const messages: FromHost[] = [];
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model: { maxSequences: 8 }, module: fakeModelModule }],
    carrier: (onMessage) =>
      new LocalCarrier((message) => {
        messages.push(message);
        onMessage(message);
      }),
  });
  await using _ = pool;
  await pool.models();
  await Promise.all(
    Array.from({ length: 8 }, (_, i) => read(pool.submit(request(`same ${i}`, { maxTokens: 30 })))),
  );
  const events = messages.filter((message) => message.type === "events");
  const deltas = events.flatMap(({ events }) => events).filter(([, event]) =>
    event.type === "delta"
  );
  assert(
    deltas.length > 200 && events.length < 50,
    `${deltas.length} deltas in ${events.length} messages`,
  );
});

Deno.test("HostedEnginePool refuses an unknown model, an id in use and a full queue at once", async () => {
  const { pool } = openPool({}, { maxWaiting: 2 });
  await using _ = pool;
  assertThrows(
    () => pool.submit(request("x", { model: "other" })),
    TypeError,
    'no model "other" is served, expected one of fake',
  );
  const first = pool.submit(request("a", { id: "same" }));
  assertThrows(
    () => pool.submit(request("b", { id: "same" })),
    TypeError,
    "same is already running",
  );
  const second = pool.submit(request("c"));
  const error = assertThrows(
    () => pool.submit(request("d")),
    CapacityError,
    "2 requests wait for fake",
  );
  assert(error.retryAfterSeconds >= 1);
  await Promise.all([read(first), read(second)]);
  assertEquals((await read(pool.submit(request("e", { id: "same" })))).ids, expected("e", 12));
});

Deno.test("HostedEnginePool throws a bad prompt from the iterator, as the class it was", async () => {
  const { pool } = openPool();
  await using _ = pool;
  await assertRejects(() => read(pool.submit(request("ABC"))), RangeError, "fake alphabet");
  await assertRejects(() => pool.tokenize("ABC"), RangeError, "fake alphabet");
});

Deno.test("HostedEnginePool cancels before, while and after the host has the request", async () => {
  const { pool, carriers } = openPool({ openMs: 5, stepMs: 1 });
  await using _ = pool;
  const unsent = pool.submit(request("unsent"));
  unsent.cancel();
  assertEquals((await read(unsent)).events.map((event) => event.type), ["finished"]);
  await pool.models();
  const running = pool.submit(request("running", { maxTokens: 500 }));
  for await (const event of running) if (event.type === "delta") break;
  await until(
    () => pool.load()[0].running === 0 && pool.load()[0].pagesUsed === 0,
    "cancel frees the pages",
  );
  assert(carriers[0].sent.some((message) => message.type === "cancel"));
  running.cancel();
});

Deno.test("HostedEnginePool fails requests in progress when their host dies, and runs untouched ones again", async () => {
  const { pool, carriers } = openPool({ maxSequences: 1, stepMs: 1 });
  await using _ = pool;
  await pool.models();
  const running = pool.submit(request("running", { maxTokens: 500 }));
  const waiting = pool.submit(request("waiting"));
  await assertRejects(
    async () => {
      for await (const event of running) if (event.type === "delta") carriers[0].kill();
    },
    DeviceLostError,
    "the engine of fake ended unexpectedly (signal SIGKILL)",
  );
  assertEquals((await read(waiting)).ids, expected("waiting", 12));
  assertEquals(carriers.length, 2);
  assertEquals([pool.load()[0].restarts, pool.load()[0].state], [1, "ready"]);
});

Deno.test("HostedEnginePool says once that a request has started, also when it is run again", async () => {
  const { pool, carriers } = openPool({ stepMs: 2, maxBatchTokens: 32 });
  await using _ = pool;
  await pool.models();
  const text = "x".repeat(1000);
  const generation = pool.submit(request(text));
  await until(() => pool.load()[0].running === 1, "started");
  carriers[0].kill();
  const { events, ids } = await read(generation);
  assertEquals(carriers.length, 2);
  assertEquals(events.filter((event) => event.type === "started").length, 1);
  assertEquals(ids, expected(text, 12));
});

Deno.test("HostedEnginePool runs a request again once only", async () => {
  const { pool, carriers } = openPool({ openMs: 1, stepMs: 5 });
  await using _ = pool;
  await pool.models();
  const generation = pool.submit(request("x".repeat(2000)));
  const asked = pool.tokenize("abc");
  assertEquals(await asked, [0, 1, 2]);
  carriers[0].kill();
  await until(
    () => carriers.length === 2 && carriers[1].sent.some((message) => message.type === "submit"),
    "retry",
  );
  carriers[1].kill();
  await assertRejects(() => read(generation), DeviceLostError);
  assertEquals((await read(pool.submit(request("next")))).ids, expected("next", 12));
});

Deno.test("HostedEnginePool reports a model that cannot be opened, and does not try again", async () => {
  const { pool, carriers } = openPool({ openError: "no such file" });
  await using _ = pool;
  const generation = pool.submit(request("x"));
  await assertRejects(() => pool.models(), TypeError, "no such file");
  await assertRejects(() => read(generation), TypeError, "no such file");
  await assertRejects(() => read(pool.submit(request("y"))), TypeError, "no such file");
  await assertRejects(() => pool.tokenize("abc"), TypeError, "no such file");
  assertEquals([pool.load()[0].state, carriers.length], ["failed", 1]);
});

Deno.test("HostedEnginePool gives up on a host that keeps dying while it starts", async () => {
  const { pool, carriers } = openPool({ openMs: 300 }, { maxFailedStarts: 3 });
  const generation = pool.submit(request("x"));
  for (let i = 0; i < 3; i++) {
    await until(() => carriers.length === i + 1, "start");
    carriers[i].die("exit code 1");
  }
  await assertRejects(
    () => read(generation),
    DeviceLostError,
    "ended 3 times while it started (exit code 1)",
  );
  assertEquals(pool.load()[0].state, "failed");
  await pool[Symbol.asyncDispose]();
  // The hosts are in this isolate: let their opening end before the test does.
  await new Promise((resolve) => setTimeout(resolve, 350));
});

Deno.test("HostedEnginePool answers a question that no host was asked before, however many died while they started", async () => {
  const { pool, carriers } = openPool({ openMs: 50 });
  await using _ = pool;
  const asked = pool.tokenize("abc");
  for (let i = 0; i < 3; i++) {
    await until(() => carriers.length === i + 1, "start");
    carriers[i].die("exit code 1");
  }
  assertEquals(await asked, [0, 1, 2]);
});

Deno.test("HostedEnginePool tries again when a host process cannot even be started", async () => {
  const carriers: LocalCarrier[] = [];
  let starts = 0;
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model: {}, module: fakeModelModule }],
    carrier: (onMessage) => {
      if (++starts === 2) throw new Error("no more processes");
      carriers.push(new LocalCarrier(onMessage));
      return carriers.at(-1)!;
    },
    supervision: { restartDelaysMs: [1] },
  });
  await using _ = pool;
  await pool.models();
  carriers[0].kill();
  assertEquals((await read(pool.submit(request("after")))).ids, expected("after", 12));
  assertEquals([starts, pool.load()[0].restarts], [3, 2]);
});

Deno.test("HostedEnginePool kills a host that has work and says nothing, not one that is idle", async () => {
  const { pool, carriers } = openPool({}, { silenceMs: 40 });
  await using _ = pool;
  await pool.models();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(carriers.length, 1);
  carriers[0].muted = true;
  const generation = pool.submit(request("hello"));
  assertEquals((await read(generation)).ids, expected("hello", 12));
  assertEquals(carriers.length, 2);
});

Deno.test("HostedEnginePool sends a request to the engine it names, and else to the one with least to do", async () => {
  const pool = new HostedEnginePool({
    models: ["a", "b", "b"].map((id) => ({ id, model: { stepMs: 1 }, module: fakeModelModule })),
    carrier: (onMessage) => new LocalCarrier(onMessage),
  });
  await using _ = pool;
  assertEquals((await pool.models()).map(({ id }) => id), ["a", "b"]);
  const generations = [
    pool.submit(request("one", { maxTokens: 50 })),
    pool.submit(request("two", { maxTokens: 50, model: "b", engine: 2 })),
    pool.submit(request("three", { maxTokens: 50, model: "b" })),
    pool.submit(request("four", { maxTokens: 50, model: "b", engine: 0 })),
  ];
  assertEquals(pool.load().map(({ waiting }) => waiting), [1, 2, 1]);
  await Promise.all(generations.map(read));
});

Deno.test("HostedEnginePool ends what runs as cancelled when it is disposed", async () => {
  const { pool } = openPool({ stepMs: 1 });
  await pool.models();
  const generation = pool.submit(request("running", { maxTokens: 500 }));
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  await pool[Symbol.asyncDispose]();
  const last = (await read(generation)).events.at(-1)!;
  assert(last.type === "finished" && last.reason === "cancelled");
  await assertRejects(() => read(pool.submit(request("late"))), DeviceLostError, "closed");
});

Deno.test("HostedEnginePool does not wait for a model that is still being opened when it is disposed", async () => {
  const gone = Promise.withResolvers<string>();
  // Compiling shaders blocks a host, which then reads no messages.
  const carrier = () => ({
    gone: gone.promise,
    send() {},
    kill: () => gone.resolve("signal SIGKILL"),
  });
  const pool = new HostedEnginePool({ models: [{ id: "fake", model: {} }], carrier });
  const waiting = read(pool.submit(request("never sent")));
  const began = performance.now();
  await pool[Symbol.asyncDispose]();
  assertLess(performance.now() - began, 1000);
  assertEquals((await waiting).events.map((event) => event.type), ["finished"]);
});

Deno.test("HostedEnginePool survives kill -9 of a child process, and keeps the caller's event loop free", async () => {
  const processes: ProcessCarrier[] = [];
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model: { maxSequences: 2, stepMs: 30 }, module: fakeModelModule }],
    carrier: (onMessage) => {
      processes.push(new ProcessCarrier(onMessage));
      return processes.at(-1)!;
    },
  });
  await using _ = pool;
  await pool.models();
  let gap = 0, last = performance.now();
  const ticker = setInterval(() => {
    gap = Math.max(gap, performance.now() - last);
    last = performance.now();
  }, 1);
  const running = [1, 2].map((i) => pool.submit(request(`running ${i}`, { maxTokens: 500 })));
  const waiting = pool.submit(request("waiting", { maxTokens: 3 }));
  const outcomes = running.map((generation) =>
    assertRejects(() => read(generation), DeviceLostError, "SIGKILL")
  );
  await until(() => pool.load()[0].generatedTokens > 2, "tokens");
  Deno.kill(processes[0].pid, "SIGKILL");
  const killed = performance.now();
  await Promise.all(outcomes);
  assertEquals((await read(waiting)).ids, expected("waiting", 3));
  const back = performance.now() - killed;
  clearInterval(ticker);
  assert(back < 5000, `ready again after ${back} ms`);
  assertEquals(pool.load()[0].restarts, 1);
  // Steps of the host block it for 30 ms each; the machine that runs the tests may be busy, so this bound is loose.
  assert(gap < 200, `event loop gap of ${gap} ms`);
});

Deno.test("HostedEnginePool gives every page back after 200 clients that come and leave at random", async () => {
  const pool = new HostedEnginePool({
    models: [{
      id: "fake",
      model: { maxSequences: 16, pagesTotal: 40, contextLength: 512 },
      module: fakeModelModule,
      engine: { scheduler: { maxWaiting: 100 } },
    }],
  });
  await using _ = pool;
  await pool.models();
  const rng = new Rng(7);
  let whole = 0, left = 0, refused = 0;
  const client = async (n: number) => {
    await new Promise((resolve) => setTimeout(resolve, rng.integer(200)));
    const text = "a shared beginning that is longer than one page of sixty four tokens, " +
      "x".repeat(rng.integer(60)) + n;
    const leaveAfter = rng.uniform() < 0.5 ? rng.integer(20) : Infinity;
    let generation: Generation;
    try {
      generation = pool.submit(
        request(text, { maxTokens: 40, criteria: n % 2 ? "latency" : "throughput" }),
      );
    } catch (error) {
      assert(error instanceof CapacityError, `${error}`);
      refused++;
      return;
    }
    const ids: number[] = [];
    for await (const event of generation) {
      if (event.type === "delta") ids.push(...event.ids);
      if (ids.length >= leaveAfter) break;
    }
    assertEquals(ids, expected(text, ids.length));
    if (ids.length === 40) whole++;
    else left++;
  };
  await Promise.all(Array.from({ length: 200 }, (_, n) => client(n)));
  assertEquals(whole + left + refused, 200);
  // Of each kind some, however many a busy machine refuses.
  assert(whole > 5 && left > 5, `${whole} whole, ${left} left, ${refused} refused`);
  await until(() => pool.load()[0].pagesUsed === 0, "pages come back");
  const [load] = pool.load();
  assertEquals([load.waiting, load.running, load.restarts, load.state], [0, 0, 0, "ready"]);
});

Deno.test("HostedEnginePool's host process leaves the signals of its process group to the server", async () => {
  const processes: ProcessCarrier[] = [];
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model: { stepMs: 2 }, module: fakeModelModule }],
    carrier: (onMessage) => {
      processes.push(new ProcessCarrier(onMessage));
      return processes.at(-1)!;
    },
  });
  await using _ = pool;
  await pool.models();
  const generation = pool.submit(request("go on", { maxTokens: 60 }));
  await until(() => pool.load()[0].running === 1, "start");
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.kill(processes[0].pid, signal);
  assertEquals((await read(generation)).ids, expected("go on", 60));
  assertEquals(pool.load()[0].restarts, 0);
});

Deno.test("HostedEnginePool fails a request that cannot be sent, and takes the next one", async () => {
  const { pool } = openPool();
  await using _ = pool;
  await pool.models();
  const bad = request("x");
  Object.assign(bad, { decode: 1n });
  await assertRejects(() => read(pool.submit(bad)), TypeError, "BigInt");
  assertEquals(pool.load()[0].waiting, 0);
  assertEquals((await read(pool.submit(request("next")))).ids, expected("next", 12));
});

Deno.test("HostedEnginePool forgets a question that cannot be sent, before and while its host is ready", async () => {
  const { pool, carriers } = openPool({ openMs: 5 }, { silenceMs: 40 });
  await using _ = pool;
  const bad = [1n] as unknown as number[];
  const early = pool.detokenize(bad);
  const asked = pool.detokenize([0, 1, 2]);
  await assertRejects(() => early, TypeError, "BigInt");
  assertEquals(await asked, "abc");
  await assertRejects(() => pool.detokenize(bad), TypeError, "BigInt");
  // A host that is thought to have it still would seem to hang.
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(carriers.length, 1);
});

Deno.test("HostedEnginePool runs a host in a Worker", async () => {
  const pool = new HostedEnginePool({
    models: [{ id: "fake", model: {}, module: fakeModelModule }],
    carrier: "worker",
  });
  await using _ = pool;
  assertEquals((await read(pool.submit(request("worker")))).ids, expected("worker", 12));
});
