import { assert, assertEquals, assertLess } from "@std/assert";
import type { EngineLoad } from "../../src/engine/types.ts";
import { Planner, type PlannerOptions } from "../../src/graph/planner.ts";
import type { PrefixKey } from "../../src/graph/prefix_match.ts";
import type { PlannedTask } from "../../src/graph/task_queue.ts";

const load = (changes: Partial<EngineLoad> = {}): EngineLoad => ({
  model: "m",
  state: "ready",
  waiting: 0,
  running: 0,
  pagesTotal: 100,
  pagesUsed: 0,
  pagesCached: 0,
  promptTokens: 0,
  cachedPromptTokens: 0,
  generatedTokens: 0,
  preemptions: 0,
  steps: 0,
  restarts: 0,
  gpuBytes: 0,
  cpuBytes: 0,
  ...changes,
});

let nextName = 0;

interface Named extends PlannedTask {
  name: string;
}

function task(changes: Partial<Named> = {}): Named {
  return {
    name: `t${nextName++}`,
    tenant: "",
    models: [],
    strict: false,
    urgent: false,
    application: 0,
    depth: 0,
    group: 0,
    prefix: [],
    chars: 400,
    promptTokens: 100,
    maxTokens: 50,
    ...changes,
  };
}

function planner(options: PlannerOptions = {}, engines: EngineLoad[] = [load()]): Planner {
  const made = new Planner(options);
  made.observe(engines, 64);
  return made;
}

/** Names in the order in which a single place is given away. */
function order(made: Planner): string[] {
  const names: string[] = [];
  for (let next = made.next(); next; next = made.next()) {
    names.push((next.task as Named).name);
    made.prefilled(next.task, next.task.promptTokens, 0);
    made.finished(next.task, next.task.maxTokens);
  }
  return names;
}

const prefix = (...ends: number[]): PrefixKey[] =>
  ends.map((chars) => ({ key: chars * 7919, chars }));

Deno.test("Planner lets others beside a task that may generate more than an engine holds", () => {
  const made = planner({}, [load({ pagesTotal: 513 })]);
  made.enqueue(task({ name: "endless", maxTokens: 2 ** 31 }));
  const started = [made.next()];
  made.enqueue(task({ name: "short", strict: true, urgent: true }));
  made.enqueue(task({ name: "another tenant's", tenant: "other" }));
  started.push(made.next(), made.next());
  assertEquals(started.map((next) => (next?.task as Named | undefined)?.name), [
    "endless",
    "short",
    "another tenant's",
  ]);
});

Deno.test("Planner hands on at once a prompt that no engine could hold: it is refused there, and nobody waits behind it", () => {
  const made = planner();
  made.enqueue(task({ name: "running" }));
  const started = [made.next()];
  made.enqueue(task({ name: "too long", promptTokens: 64_001 }));
  made.enqueue(task({ name: "next" }));
  started.push(made.next());
  made.remove(started[1]!.task);
  started.push(made.next());
  assertEquals(started.map((next) => (next?.task as Named).name), ["running", "too long", "next"]);
  const two = planner({}, [load(), load({ pagesTotal: 2000 })]);
  for (const name of ["a", "b"]) two.enqueue(task({ name }));
  const engines = [two.next()?.engine, two.next()?.engine];
  assertEquals(engines.toSorted(), [0, 1]);
  two.enqueue(task({ promptTokens: 64_001 }));
  assertEquals(two.next()?.engine, 1, "where there is room");
});

Deno.test("Planner runs started applications first, deeper steps first, groups and prefixes together", () => {
  const made = planner({ tasksPerEngine: 1 });
  const tasks = [
    task({ name: "new", application: 2 }),
    task({ name: "early group 2", application: 1, depth: 1, group: 2 }),
    task({ name: "early group 1", application: 1, depth: 1, group: 1 }),
    task({ name: "early group 2 again", application: 1, depth: 1, group: 2 }),
    task({ name: "deep", application: 1, depth: 5 }),
    task({ name: "urgent", application: 9, urgent: true, strict: true }),
  ];
  for (const each of tasks) made.enqueue(each);
  assertEquals(order(made), [
    "urgent",
    "deep",
    "early group 1",
    "early group 2",
    "early group 2 again",
    "new",
  ]);
});

Deno.test("Planner first come, first served when asked for", () => {
  const made = planner({ tasksPerEngine: 1, applicationFirst: false });
  for (const depth of [0, 3, 1]) made.enqueue(task({ name: `depth ${depth}`, depth }));
  assertEquals(order(made), ["depth 0", "depth 3", "depth 1"]);
});

Deno.test("Planner serves tenants in turn by tokens, however many requests each has", () => {
  const made = planner({ tasksPerEngine: 1 });
  for (let i = 0; i < 30; i++) made.enqueue(task({ name: "greedy", tenant: "a", application: i }));
  for (let i = 0; i < 10; i++) {
    made.enqueue(
      task({
        name: "modest",
        tenant: "b",
        application: 100 + i,
        promptTokens: 200,
        maxTokens: 100,
      }),
    );
  }
  const first = order(made).slice(0, 18);
  const modest = first.filter((name) => name === "modest").length;
  assert(
    modest >= 5 && modest <= 7,
    `a tenant with requests twice as long gets a third: ${modest} of 18`,
  );
});

Deno.test("Planner: a tenant that was idle gets no more than its share when it comes back", () => {
  const made = planner({ tasksPerEngine: 1 });
  for (let i = 0; i < 20; i++) made.enqueue(task({ tenant: "a", name: "a" }));
  const early = order(made);
  assertEquals(early.length, 20);
  for (let i = 0; i < 10; i++) {
    made.enqueue(task({ tenant: "a", name: "a" }));
    made.enqueue(task({ tenant: "b", name: "b" }));
  }
  const late = order(made).slice(0, 10).filter((name) => name === "b").length;
  assert(late >= 4 && late <= 6, `${late} of 10`);
});

Deno.test("Planner: bulk work keeps an eighth of the tokens while urgent work never ends", () => {
  const made = planner({ tasksPerEngine: 1 });
  let bulkTokens = 0;
  let urgentTokens = 0;
  for (let i = 0; i < 400; i++) {
    made.enqueue(task({ name: "urgent", urgent: true, strict: true, promptTokens: 150 }));
    made.enqueue(task({ name: "bulk", promptTokens: 250 }));
    const next = made.next()!;
    const tokens = next.task.promptTokens + next.task.maxTokens;
    if ((next.task as Named).name === "bulk") bulkTokens += tokens;
    else urgentTokens += tokens;
    made.finished(next.task, 0);
  }
  assertLess(Math.abs(bulkTokens / urgentTokens - 1 / 8), 0.02);
});

Deno.test("Planner places work where its prefix is, and elsewhere when that engine is full of it", () => {
  const made = planner({}, [load({ pagesTotal: 1000 }), load({ pagesTotal: 1000 })]);
  const sharing = () => task({ prefix: prefix(4096), chars: 4400, promptTokens: 1100 });
  const other = task({ prefix: prefix(5000), chars: 5400, promptTokens: 1350 });
  made.enqueue(sharing());
  const first = made.next()!;
  made.prefilled(first.task, 1100, 0);
  made.enqueue(other);
  const second = made.next()!;
  assertEquals(second.engine, 1 - first.engine, "another prefix goes to the free engine");
  made.prefilled(second.task, 1350, 0);
  let here = 0;
  for (let i = 0; i < 8; i++) {
    made.enqueue(sharing());
    const next = made.next()!;
    made.prefilled(next.task, 1100, 1024);
    if (next.engine === first.engine) here++;
    assert(next.engine !== first.engine || next.sharedTokens >= 1000);
  }
  assertEquals(here, 8);
});

Deno.test("Planner counts what a new prefix costs the tasks that are already on an engine", () => {
  const made = planner({}, [load({ pagesTotal: 1000 }), load({ pagesTotal: 1000 })]);
  const place = (one: Named, cached: number) => {
    made.enqueue(one);
    const next = made.next()!;
    made.prefilled(next.task, one.promptTokens, cached);
    return next.engine;
  };
  const long = () =>
    task({ prefix: prefix(4096), chars: 4400, promptTokens: 1100, maxTokens: 700 });
  const short = () => task({ prefix: prefix(5000), chars: 5040, promptTokens: 1260, maxTokens: 9 });
  const home = place(long(), 0);
  assertEquals(place(short(), 0), 1 - home);
  for (let i = 0; i < 9; i++) assertEquals(place(short(), 1250), 1 - home);
  // Far fewer tokens are resident on the other engine, but every step of 10 tasks there would read 1,100 more.
  for (let i = 0; i < 9; i++) assertEquals(place(long(), 1024), home);
});

Deno.test("Planner holds sharers of a prefix back until it is filled, and lets them go when the fill fails", () => {
  for (const failed of [false, true]) {
    const made = planner({}, [load({ pagesTotal: 1000 })]);
    const sharing = (name: string) =>
      task({ name, prefix: prefix(4096), chars: 4400, promptTokens: 1100 });
    made.enqueue(sharing("leader"));
    made.enqueue(sharing("follower"));
    const leader = made.next()!;
    assertEquals(made.next(), undefined);
    assertEquals(made.waiting, 1);
    if (failed) made.finished(leader.task);
    else made.prefilled(leader.task, 1100, 0);
    const follower = made.next()!;
    assertEquals((follower.task as Named).name, "follower");
    assertEquals(follower.sharedTokens > 0, !failed);
  }
});

Deno.test("Planner keeps strict work from bulk work on several engines", () => {
  const made = planner({ latencyTokens: 400 }, [load(), load(), load()]);
  const started: number[] = [];
  for (let i = 0; i < 6; i++) {
    made.enqueue(task({ promptTokens: 300 }));
    started.push(made.next()!.engine);
  }
  assertEquals(new Set(started).size, 3, "bulk work is spread");
  const strict: number[] = [];
  for (let i = 0; i < 3; i++) {
    made.enqueue(task({ strict: true, urgent: true, promptTokens: 50, maxTokens: 20 }));
    strict.push(made.next()!.engine);
  }
  assertEquals(new Set(strict).size, 1, "strict work gathers");
  made.enqueue(task({ promptTokens: 300 }));
  assert(made.next()!.engine !== strict[0], "new bulk work goes elsewhere");
});

Deno.test("Planner weighs a task that may generate without end beside strict work by what it counts for", () => {
  const made = planner({ latencyTokens: 4000 }, [
    load({ pagesTotal: 1000 }),
    load({ pagesTotal: 1000 }),
  ]);
  const start = (changes: Partial<Named>) => {
    made.enqueue(task(changes));
    return made.next()?.engine;
  };
  assertEquals([start({ promptTokens: 300 }), start({ promptTokens: 500 })], [0, 1]);
  assertEquals(start({ strict: true, urgent: true, promptTokens: 50, maxTokens: 20 }), 0);
  // With all that it may generate it would be said to stop the bulk work there.
  assertEquals(start({ maxTokens: 2 ** 31 }), 0);
});

Deno.test("Planner respects memory, models and failed engines, and never leaves a lone task out", () => {
  const made = planner({}, [
    load({ model: "a", pagesTotal: 4 }),
    load({ model: "b", state: "failed" }),
  ]);
  made.enqueue(task({ models: ["b"] }));
  assertEquals(made.next(), undefined);
  made.enqueue(task({ name: "huge", models: ["a"], promptTokens: 5000 }));
  const huge = made.next()!;
  assertEquals((huge.task as Named).name, "huge", "the engine itself says no to what cannot fit");
  made.enqueue(task({ models: ["a"] }));
  assertEquals(made.next(), undefined);
  made.finished(huge.task);
  assertEquals(made.next()?.engine, 0);
  made.observe([load({ model: "a" }), load({ model: "b" })], 64);
  assertEquals(made.next()?.engine, 1);
});

Deno.test("Planner orders tasks by urgency, tenant and application, whichever models they name", () => {
  const made = planner({ tasksPerEngine: 1 });
  made.enqueue(task({ name: "bulk", application: 1 }));
  made.enqueue(task({ name: "late", urgent: true, application: 3 }));
  made.enqueue(task({ name: "urgent", urgent: true, models: ["m"], application: 2 }));
  assertEquals(order(made)[0], "urgent");

  for (let i = 0; i < 4; i++) made.enqueue(task({ name: "a", tenant: "a", application: i }));
  for (let i = 0; i < 4; i++) {
    made.enqueue(task({ name: "b", tenant: "b", models: ["m", "n"], application: i }));
  }
  assertEquals(order(made).slice(0, 4).sort(), ["a", "a", "b", "b"]);
});

Deno.test("Planner: removed tasks are neither run nor counted", () => {
  const made = planner();
  const gone = task({ urgent: true });
  made.enqueue(gone);
  made.enqueue(task({ name: "stays" }));
  made.remove(gone);
  assertEquals(order(made), ["stays"]);
  assertEquals(made.waiting, 0);
});

Deno.test("Planner lets a prefix be filled twice that is too short to wait for", () => {
  const made = planner({}, [load({ pagesTotal: 1000 })]);
  for (let i = 0; i < 2; i++) made.enqueue(task({ prefix: prefix(1000), chars: 1100 }));
  assert(made.next() && made.next());
});

Deno.test("Planner hands an engine no more tasks at a time than it is told to", () => {
  const made = planner({ tasksPerEngine: 2 }, [load({ pagesTotal: 1000 })]);
  for (let i = 0; i < 3; i++) made.enqueue(task());
  const [first] = [made.next()!, made.next()!];
  assertEquals(made.next(), undefined);
  made.finished(first.task);
  assert(made.next());
});

Deno.test("Planner forgets what an engine held before it was started again, and what it has no room for", () => {
  const keysOf = (key: number): PrefixKey[] => [{ key, chars: 16_000 }];
  const shared = (made: Planner, key: number) => {
    made.enqueue(task({ prefix: keysOf(key), chars: 16_000, promptTokens: 4000 }));
    const { task: placed, sharedTokens } = made.next()!;
    made.prefilled(placed, 4000, sharedTokens);
    made.finished(placed);
    return sharedTokens > 0;
  };
  // Room for one of them: 100 pages of 64 tokens, some 25,600 characters.
  const made = planner();
  assertEquals([1, 1, 2, 2, 1].map((key) => shared(made, key)), [false, true, false, true, false]);
  made.observe([load()], 64);
  assertEquals(shared(made, 1), true);
  made.observe([load({ restarts: 1 })], 64);
  assertEquals(shared(made, 1), false);
});
