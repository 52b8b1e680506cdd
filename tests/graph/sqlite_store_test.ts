// deno-lint-ignore no-external-import -- built into Deno
import { DatabaseSync } from "node:sqlite";
import {
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { CapacityError, OutOfMemoryError } from "../../src/common/errors.ts";
import { GraphError } from "../../src/graph/graph_error.ts";
import { GraphRuntime } from "../../src/graph/graph_runtime.ts";
import type { GraphRuntimeOptions } from "../../src/graph/graph_runtime_options.ts";
import type { Session } from "../../src/graph/session.ts";
import { SimulatedPool } from "../../src/graph/sim/simulated_pool.ts";
import { VirtualClock } from "../../src/graph/sim/virtual_clock.ts";
import { llama13bOnA100 } from "../../src/graph/sim/cost_model.ts";
import { SqliteStore } from "../../src/graph/sqlite_store.ts";
import { parrotError } from "../../src/server/parrot_errors.ts";
import { killedMix } from "./kill/killed_mix.ts";
import { call, input, openWorld, output, submit, withFile } from "./support.ts";

/** A port that nobody had a moment ago; a killed server comes back on the one it had. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

Deno.test("SqliteStore: a stopped server's sessions, values and unfinished calls come back", async () => {
  await withFile(async (path) => {
    const template = "On {{t}}: {{a}} then {{b}}";
    const parameters = [input("t", "tea"), output("a", 5), output("b", 5)];
    const expected = await run(async ({ graph, clock }) => {
      const session = graph.openSession();
      const made = graph.submit(session, call(template, parameters)).parameters;
      return await clock.run(
        Promise.all([1, 2].map((i) => graph.read(session, made[i].var_id, "latency"))),
      );
    });
    const first = await run(async ({ graph, clock }) => {
      const session = graph.openSession("tenant");
      const preset = graph.createVariable(session, "preset", "kept");
      const late = graph.createVariable(session, "late");
      const made = graph.submit(session, call(template, parameters)).parameters;
      const value = await clock.run(graph.read(session, made[1].var_id, "latency"));
      const next = graph.submit(
        session,
        call("{{p}} {{l}} {{b}} {{o}}", [
          input("p", preset),
          input("l", late),
          input("b", { id: made[2].var_id }),
          output("o", 4),
        ]),
      ).parameters;
      graph.read(session, next[3].var_id, "latency").catch(() => {});
      return {
        id: session.id,
        secret: session.secret,
        a: made[1].var_id,
        b: made[2].var_id,
        o: next[3].var_id,
        late: late.id,
        preset: preset.id,
        value,
      };
    }, path);
    const second = await run(async ({ graph, clock, pool }) => {
      const session = graph.session(first.id);
      session.authorize(first.secret);
      assertEquals(session.tenant, "tenant");
      assertEquals(session.variable(first.preset).value, "kept");
      assertEquals(session.variable(first.a).value, first.value);
      assertEquals(pool.load()[0].promptTokens, 0, "what was done is not done again");
      const b = clock.run(graph.read(session, first.b, "latency"));
      const text = await b;
      graph.setVariable(session, first.late, "now");
      await clock.run(session.variable(first.o).wait());
      return text;
    }, path);
    assertEquals([first.value, second], expected);
    await run(({ graph }) => {
      graph.closeSession(first.id);
      return Promise.resolve();
    }, path);
    await run(({ graph }) => {
      assertEquals(graph.sessionCount, 0);
      return Promise.resolve();
    }, path);
  });
});

Deno.test("SqliteStore: outputs that were made before their call come back, set or not, failed or not", async () => {
  await withFile(async (path) => {
    const ids = await run(async ({ graph, clock }) => {
      const session = graph.openSession();
      const [done, open, broken, after] = ["done", "open", "broken", "after"].map((name) =>
        graph.createVariable(session, name).id
      );
      const bound = (variableId: string) => output("o", 3, { variableId });
      graph.submit(session, call("One {{o}}", [bound(done)]));
      graph.submit(session, call("Two {{i}} {{o}}", [input("i", { id: done }), bound(open)]));
      graph.submit(session, call("Three {{o}}", [bound(broken)]));
      graph.submit(session, call("Four {{i}} {{o}}", [input("i", { id: broken }), bound(after)]));
      await clock.run(graph.read(session, done, "latency"));
      graph.cancelVariable(session, broken);
      return { session: session.id, done, open, broken, after };
    }, path);
    await run(async ({ graph, clock }) => {
      const session = graph.session(ids.session);
      assertEquals(session.variable(ids.done).state, "ready");
      assertEquals(session.nodes.map((node) => node.state), ["done", "idle", "failed", "failed"]);
      await clock.run(graph.read(session, ids.open, "latency"));
      assertStringIncludes(session.variable(ids.after).error?.message ?? "", "cancelled");
    }, path);
  });
});

interface Running {
  graph: GraphRuntime;
  clock: VirtualClock;
  pool: SimulatedPool;
}

async function run<T>(
  work: (running: Running) => Promise<T>,
  path?: string,
  options: Partial<GraphRuntimeOptions> = {},
): Promise<T> {
  const clock = new VirtualClock();
  await using pool = new SimulatedPool({ cost: llama13bOnA100, clock });
  await using graph = new GraphRuntime({
    pool,
    clock,
    ...options,
    store: path === undefined ? undefined : new SqliteStore(path),
  });
  return await work({ graph, clock, pool });
}

Deno.test("SqliteStore: values and errors with zero characters come back whole", async () => {
  await withFile(async (path) => {
    const ids = await run(({ graph }) => {
      const session = graph.openSession();
      const value = graph.createVariable(session, "v\0w", "\ufeffone\0two\0").id;
      const failed = graph.createVariable(session, "lost");
      failed.fail(new Error("no\0thing"));
      return Promise.resolve({ session: session.id, value, failed: failed.id });
    }, path);
    await run(({ graph }) => {
      const session = graph.session(ids.session);
      assertEquals(session.variable(ids.value).name, "v\0w");
      assertEquals(session.variable(ids.value).value, "\ufeffone\0two\0");
      assertEquals(session.variable(ids.failed).error?.message, "no\0thing");
      return Promise.resolve();
    }, path);
  });
});

Deno.test("SqliteStore: a failure is answered after a restart as before, whatever its kind", async () => {
  const errors = [
    new GraphError("limit", "too much"),
    new GraphError("timeout", "too late"),
    new RangeError("too long"),
    new CapacityError("full"),
    new OutOfMemoryError("no room"),
    new Error("who knows"),
  ];
  await withFile(async (path) => {
    let id = 0;
    await run(({ graph }) => {
      const session = graph.openSession();
      id = session.id;
      for (const error of errors) graph.createVariable(session, "v").fail(error);
      return Promise.resolve();
    }, path);
    await run(({ graph }) => {
      const kept = [...graph.session(id).variables.values()].map(({ error }) => error!);
      assertEquals(kept.map(parrotError), errors.map(parrotError));
      return Promise.resolve();
    }, path);
  });
});

Deno.test("SqliteStore brings a file of version 1 up to date, and keeps what is in it", async () => {
  await withFile(async (path) => {
    const ids = await run(({ graph }) => {
      const session = graph.openSession();
      graph.createVariable(session, "v", "kept");
      graph.createVariable(session, "w").fail(new GraphError("limit", "too much"));
      return Promise.resolve({ session: session.id, variables: [...session.variables.keys()] });
    }, path);
    const database = new DatabaseSync(path);
    database.exec("ALTER TABLE value DROP COLUMN kind; PRAGMA user_version = 1");
    database.close();
    for (let i = 0; i < 2; i++) {
      await run(({ graph }) => {
        const [v, w] = ids.variables.map((id) => graph.session(ids.session).variable(id));
        assertEquals(v.value, "kept");
        assertEquals([(w.error as GraphError).code, w.error?.message], ["failed", "too much"]);
        return Promise.resolve();
      }, path);
    }
    await run(({ graph }) => {
      const variable = graph.createVariable(graph.session(ids.session), "x");
      variable.fail(new GraphError("limit", "too much"));
      ids.variables.push(variable.id);
      return Promise.resolve();
    }, path);
    await run(({ graph }) => {
      const { error } = graph.session(ids.session).variable(ids.variables[2]);
      assertEquals((error as GraphError).code, "limit");
      return Promise.resolve();
    }, path);
  });
});

Deno.test("SqliteStore: a deadline goes on while the server is away", async () => {
  await withFile(async (path) => {
    let now = 1e12;
    const open = () => openWorld({}, { store: new SqliteStore(path, { now: () => now }) });
    let id = 0, outs: string[] = [];
    {
      await using world = open();
      id = world.session.id;
      const unset = world.graph.createVariable(world.session, "unset");
      outs = [1000, 60_000, 90_000].map((deadlineMs) =>
        submit(world, call("{{i}} {{o}}", [input("i", unset), output("o", 1)], { deadlineMs })).o
      );
    }
    const failsAfter = async (out: string) => {
      await using world = open();
      const session = world.graph.session(id);
      await assertRejects(
        () => world.clock.run(world.graph.read(session, out, "latency")),
        GraphError,
        "its deadline passed",
      );
      return world.clock.now();
    };
    now += 400;
    assertEquals(await failsAfter(outs[0]), 600);
    now += 9_600;
    assertEquals(await failsAfter(outs[1]), 50_000);
    now += 100_000;
    assertEquals(await failsAfter(outs[2]), 0);
  });
});

Deno.test("a store that cannot keep a value any longer holds up no reader and ends nothing", async () => {
  await withFile(async (path) => {
    await using world = openWorld({}, { store: new FullStore(path) });
    const { graph, session, clock } = world;
    const first = submit(world, call("First {{o}}", [output("o", 5)])).o;
    const trim = [{ kind: "trim" as const }];
    const parameters = [input("i", { id: first }), output("o", 5)];
    const next = submit(world, call("{{i}} {{o}}", parameters)).o;
    const { parameters: [, trimmed] } = graph.submit(session, {
      kind: "transform",
      parameters: [input("i", { id: next }), { name: "o", isOutput: true }],
      transforms: trim,
    });
    const late = submit(world, call("{{i}} {{o}}", parameters, { deadlineMs: 1 })).o;
    const failing = graph.read(session, late, "latency");
    failing.catch(() => {});
    const value = await clock.run(graph.read(session, trimmed.var_id, "latency"));
    assertEquals(value, session.variable(next).value.trim());
    await assertRejects(() => failing, GraphError, "deadline");
    const unset = graph.createVariable(session, "unset");
    const waiting = unset.wait();
    graph.closeSession(session.id);
    await assertRejects(() => waiting, GraphError, "closed");
  });
});

Deno.test("what a client asks for and the store cannot keep is refused, and leaves all as it was", async () => {
  await withFile(async (path) => {
    const store = new FullStore(path);
    await using world = openWorld({}, { store });
    const { graph, session, clock } = world;
    const [value, out] = ["value", "out"].map((name) => graph.createVariable(session, name));
    const parameters = [input("i", { id: value.id }), output("o", 5, { variableId: out.id })];
    const waiting = graph.read(session, out.id, "latency");
    const refused = (work: () => unknown) => {
      const error = assertThrows(work, GraphError, "cannot be written: database or disk is full");
      assertEquals(error.code, "unavailable");
    };
    store.full = true;
    refused(() => graph.setVariable(session, value.id, "text"));
    refused(() => graph.createVariable(session, "more", "text"));
    refused(() => submit(world, call("Say {{i}} {{o}}", parameters)));
    refused(() => graph.openSession());
    assertEquals([session.variables.size, session.nodes.length, session.calls], [2, 0, 0]);
    assertEquals([value.state, value.consumers, graph.sessionCount], ["pending", [], 1]);
    // Once there is room again, the client's second try succeeds.
    store.full = false;
    submit(world, call("Say {{i}} {{o}}", parameters));
    graph.setVariable(session, value.id, "text");
    assertEquals(await clock.run(waiting), out.value);
  });
});

/** A store on a disk that has become full. */
class FullStore extends SqliteStore {
  /** Whether there is no room for what clients ask for either. */
  full = false;

  override together(writes: () => void): void {
    super.together(() => {
      writes();
      if (this.full) this.settle();
    });
  }

  override openSession(session: Session): void {
    if (this.full) this.settle();
    super.openSession(session);
  }

  override settle(): void {
    throw new Error("database or disk is full");
  }

  override demand(): void {
    this.settle();
  }

  override closeSession(): void {
    this.settle();
  }
}

Deno.test("SqliteStore: what a session holds counts for its limits after a restart as before", async () => {
  await withFile(async (path) => {
    const options = { limits: { totalChars: 100 } };
    const refused = (graph: GraphRuntime, session: Session) =>
      assertThrows(() => graph.createVariable(session, "more", "x".repeat(50)), GraphError, "100");
    const id = await run(
      ({ graph }) => {
        const session = graph.openSession();
        graph.createVariable(session, "v", "x".repeat(60));
        refused(graph, session);
        assertEquals(graph.charCount, 60 + 512);
        return Promise.resolve(session.id);
      },
      path,
      options,
    );
    await run(
      ({ graph }) => {
        const session = graph.session(id);
        assertEquals(graph.charCount, 60 + 512);
        refused(graph, session);
        graph.createVariable(session, "rest", "x".repeat(40));
        return Promise.resolve();
      },
      path,
      options,
    );
  });
});

Deno.test("SqliteStore: a kept call that this server may not run any more says so", async () => {
  await withFile(async (path) => {
    const never = { run: () => new Promise<never>(() => {}) };
    const { session, out } = await run(
      ({ graph }) => {
        const session = graph.openSession();
        const { parameters } = graph.submit(session, {
          kind: "native",
          functionName: "f",
          code: "",
          timeoutMs: 1000,
          parameters: [{ name: "o", isOutput: true }],
        });
        graph.read(session, parameters[0].var_id, "latency").catch(() => {});
        return Promise.resolve({ session: session.id, out: parameters[0].var_id });
      },
      path,
      { nativeFunctions: never },
    );
    await run(async ({ graph, clock }) => {
      const read = graph.read(graph.session(session), out, "latency");
      const error = await assertRejects(
        () => clock.run(read),
        GraphError,
        "Native functions are off",
      );
      assertEquals(error.code, "forbidden");
    }, path);
  });
});

Deno.test("SqliteStore: a session that cannot be rebuilt keeps no other from coming back", async () => {
  await withFile(async (path) => {
    const ids = await run(({ graph }) => {
      const sessions = [graph.openSession(), graph.openSession()];
      graph.submit(sessions[0], call(`${"long ".repeat(50)} {{o}}`, [output("o", 1)]));
      graph.createVariable(sessions[1], "v", "kept");
      return Promise.resolve(sessions.map(({ id }) => id));
    }, path);
    for (const [totalChars, found] of [[100, [false, true]], [1000, [true, true]]] as const) {
      await run(
        ({ graph }) => {
          const open = ids.map((id) => {
            try {
              return graph.session(id).id === id;
            } catch (error) {
              return assertInstanceOf(error, GraphError), false;
            }
          });
          assertEquals(open, [...found]);
          return Promise.resolve();
        },
        path,
        { limits: { totalChars } },
      );
    }
  });
});

Deno.test("kill -9: no set variable is lost, no reader hangs, results are those of a quiet run", async () => {
  const kills = Number(Deno.args[0] ?? 4);
  const options = { applications: 8 + kills * 4, deadlineMs: 20_000, seed: 1 };
  await withFile(async (path) => {
    const quiet = await killedMix({
      ...options,
      port: freePort(),
      store: `${path}-quiet`,
      kills: 0,
    });
    const killed = await killedMix({ ...options, port: freePort(), store: path, kills });
    assertEquals([killed.lost, killed.hung], [0, 0]);
    assertEquals(killed.results, quiet.results);
    assertEquals(quiet.results.flat().some((value) => value.startsWith("error")), false);
    console.log(`${killed.kills} kills, longest read ${killed.longestReadMs.toFixed(0)} ms`);
  });
});
