// deno-lint-ignore no-external-import -- built into Deno
import { cpuUsage } from "node:process";
import { assertEquals, assertLess, assertRejects, assertThrows } from "@std/assert";
import { GraphError } from "../../src/graph/graph_error.ts";
import type { NativeRequest } from "../../src/graph/native_functions.ts";
import type { Operation } from "../../src/graph/operation.ts";
import { applyTransforms, parseTransforms, type Transform } from "../../src/graph/transform.ts";
import { call, input, openWorld, output, submit } from "./support.ts";

const apply = (steps: unknown, text: string) => applyTransforms(parseTransforms(steps), text);

Deno.test("transform trim, template and their order", async () => {
  assertEquals(
    await apply(["trim", { kind: "template", template: "[{{value}}|{{value}}]" }], " a$& "),
    "[a$&|a$&]",
  );
  assertEquals(await apply(null, " a "), " a ");
});

Deno.test("transform regex takes the first group, a numbered or a named one, or the match", async () => {
  const text = "The answer: 42 (forty-two)";
  assertEquals(await apply([{ kind: "regex", pattern: "answer: (\\d+)" }], text), "42");
  assertEquals(
    await apply([{ kind: "regex", pattern: "ANSWER: \\d+", flags: "i" }], text),
    "answer: 42",
  );
  assertEquals(
    await apply([{ kind: "regex", pattern: "(\\d+) \\((.*)\\)", group: 2 }], text),
    "forty-two",
  );
  assertEquals(
    await apply([{ kind: "regex", pattern: "(?<word>\\w+-\\w+)", group: "word" }], text),
    "forty-two",
  );
  await assertRejects(
    () => apply([{ kind: "regex", pattern: "x" }], text),
    GraphError,
    "nothing matches",
  );
  await assertRejects(
    () => apply([{ kind: "regex", pattern: "(4)2", group: 7 }], text),
    GraphError,
    "nothing matches /(4)2/ with a group 7",
  );
});

Deno.test("transform regex that backtracks for ever is stopped, and the server goes on meanwhile", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 10);
  const start = performance.now();
  const text = "a".repeat(4000) + "!";
  // A repeated group; a back reference, which adds a power; and alternatives, each of which doubles the ways.
  const patterns = ["^(a|aa)+$", "(a*)\\1\\1b", "(a|a)".repeat(25) + "b"];
  const errors = await Promise.all(
    patterns.map((pattern) =>
      assertRejects(() => apply([{ kind: "regex", pattern }], text), GraphError, "ran over")
    ),
  );
  clearInterval(timer);
  for (const error of errors) assertEquals(error.code, "timeout");
  assertLess(20, turns);
  assertLess(performance.now() - start, 25_000);
});

Deno.test("transform regex with alternatives and no quantifier is stopped like any other", async () => {
  // Millions of ways to take 40 letters by ones and twos.
  const evil = { kind: "regex", pattern: `^${"(?:a|aa)".repeat(27)}bd` };
  let turns = 0;
  const timer = setInterval(() => turns++, 10);
  await apply([evil], "a".repeat(40) + "bc").catch(() => {});
  clearInterval(timer);
  assertLess(1, turns);
});

Deno.test("transform regex that is stopped leaves no thread and no process at work", async () => {
  const evil = { kind: "regex", pattern: "^(a|aa)+$" };
  await assertRejects(() => apply([evil], "a".repeat(60) + "b"), GraphError, "ran over");
  // What a worker's termination comes after, if it comes.
  await new Promise((done) => setTimeout(done, 2500));
  const before = cpuUsage();
  await new Promise((done) => setTimeout(done, 1000));
  const { user, system } = cpuUsage(before);
  assertLess((user + system) / 1e6, 0.5, "seconds of processor time");
  if (Deno.build.os === "linux") assertEquals(await children(), []);
});

Deno.test("transform regex runs few patterns at a time, however many texts come together", async () => {
  if (Deno.build.os !== "linux") return;
  const evil = { kind: "regex", pattern: "^(a|aa)+$" };
  const leave = new AbortController();
  const turn = { tenant: "many", signal: leave.signal };
  const ended = Promise.allSettled(
    Array.from(
      { length: 12 },
      () => applyTransforms(parseTransforms([evil]), "a".repeat(60) + "b", turn),
    ),
  );
  let most = 0;
  for (let i = 0; i < 40; i++) {
    await new Promise((done) => setTimeout(done, 20));
    most = Math.max(most, (await children()).length);
  }
  assertEquals(most, 4);
  leave.abort(new Error("enough"));
  await ended;
  assertEquals(await children(), []);
});

Deno.test("transform regex of a session that ends gives its place to others at once", async () => {
  await using world = openWorld({ answer: () => "a".repeat(60) + "b" });
  const { graph, session, clock } = world;
  const evil = { kind: "regex" as const, pattern: "^(a|aa)+$" };
  const made = Array.from(
    { length: 8 },
    () => submit(world, call("Say {{o}}", [output("o", 16, { transforms: [evil] })])).o,
  );
  const reads = Promise.allSettled(made.map((id) => graph.read(session, id, "latency")));
  while (graph.chainCount > 0) await clock.run(new Promise<void>((done) => clock.after(10, done)));
  graph.closeSession(session.id);
  await reads;
  // Four a second would take two.
  const start = performance.now();
  assertEquals(await apply([{ kind: "regex", pattern: "(a+) (b+)" }], "a b"), "a");
  assertLess(performance.now() - start, 900);
});

Deno.test("transform regex of one tenant waits for no queue of another's", async () => {
  const steps = (pattern: string) => parseTransforms([{ kind: "regex", pattern }]);
  const leave = new AbortController();
  const slow = Array.from(
    { length: 16 },
    () =>
      applyTransforms(steps("^(a|aa)+$"), "a".repeat(60) + "b", {
        tenant: "slow",
        signal: leave.signal,
      }),
  );
  const ended = Promise.allSettled(slow);
  let over = 0;
  for (const one of slow) one.catch(() => over++);
  const quick = await applyTransforms(steps("(a+) (b+)"), "a b", { tenant: "quick" });
  // Four run at a time, each for a second: it has waited for one of these, not for sixteen.
  assertLess(over, 5);
  assertEquals(quick, "a");
  leave.abort(new Error("enough"));
  await ended;
});

Deno.test("transform json finds the value in talk around it", async () => {
  const text = 'Here you are: {"files": [{"name": "a.py", "lines": 3}], "x-y": null} Enjoy {that}.';
  assertEquals(await apply([{ kind: "json", path: "$.files[0].name" }], text), "a.py");
  assertEquals(await apply([{ kind: "json", path: "files[0].lines" }], text), "3");
  assertEquals(await apply([{ kind: "json", path: '$["x-y"]' }], text), "null");
  assertEquals(await apply([{ kind: "json", path: "$" }], "[1, 2]"), "[1,2]");
  await assertRejects(() => apply([{ kind: "json", path: "$.nope" }], text), GraphError, "$.nope");
  await assertRejects(() => apply([{ kind: "json", path: "$.constructor" }], text), GraphError);
  await assertRejects(
    () => apply([{ kind: "json", path: "$" }], "no json here"),
    GraphError,
    "no JSON",
  );
});

Deno.test("transform json and template cost little on hostile text", async () => {
  const start = performance.now();
  const hostile = ["[".repeat(60_000), `x [${"1,".repeat(200_000)}${"}]".repeat(1000)}`];
  for (const text of hostile) {
    await assertRejects(() => apply([{ kind: "json", path: "$" }], text), GraphError, "no JSON");
  }
  // Behind brackets that nothing closes, and in a long talk, it is found.
  const late = `${"[".repeat(1000)}${"talk ".repeat(1_000_000)}{"a": 1}`;
  assertEquals(await apply([{ kind: "json", path: "$.a" }], late), "1");
  const template = { kind: "template", template: "{{value}}".repeat(7000) };
  await assertRejects(
    () => apply([template, template], "x".repeat(4000)),
    GraphError,
    "transform template: makes 196000000000 characters, expected at most",
  );
  assertLess(performance.now() - start, 2000);
});

Deno.test("transforms of parameters are applied to calls of every kind", async () => {
  const nativeFunctions = {
    run: (call: NativeRequest) => Promise.resolve({ r: JSON.stringify(call.arguments) }),
  };
  await using world = openWorld({}, { nativeFunctions });
  const { graph, session } = world;
  const trim: Transform[] = [{ kind: "trim" }];
  const framed: Transform[] = [{ kind: "template", template: "<{{value}}>" }];
  const a = graph.createVariable(session, "a", " a ");
  const value = async (operation: Operation) => {
    const { parameters } = graph.submit(session, operation);
    const made = parameters.find((info) => info.is_output);
    return await graph.read(session, made!.var_id, "latency");
  };
  const r = { name: "r", isOutput: true, transforms: framed };
  const native: Operation = {
    kind: "native",
    functionName: "f",
    code: "",
    timeoutMs: 1000,
    parameters: [
      { ...input("a", a), transforms: trim },
      { ...input("b", " b "), transforms: trim },
      { name: "c", isOutput: false, value: 7 },
      r,
    ],
  };
  assertEquals(await value(native), '<{"a":"a","b":"b","c":7}>');
  assertEquals(
    await value({ kind: "transform", transforms: trim, parameters: [input("a", a), r] }),
    "<a>",
  );
});

Deno.test("parseTransforms looks at patterns of many classes in a moment, and refuses what is none", () => {
  const regex = (pattern: string, flags: string) =>
    parseTransforms([{ kind: "regex", pattern, flags }]);
  // The first use of a property loads its characters.
  regex("\\p{RGI_Emoji}\\p{L}\\P{Assigned}", "v");
  for (const piece of ["\\p{RGI_Emoji}", "[\\p{L}--\\p{Lu}]", "\\P{Assigned}", "(?i:\\W)"]) {
    const began = performance.now();
    regex(piece.repeat(400), "v");
    const ms = performance.now() - began;
    assertLess(ms, 500, `${piece}: ${ms} ms`);
  }
  for (
    const [pattern, flags] of [
      ["\\p{Nope}", "u"],
      ["\\p", "u"],
      ["\\p{RGI_Emoji}", "u"],
      ["\\P{RGI_Emoji}", "v"],
      ["[\\p{L}-z]", "u"],
      ["[\\p{L}&&\\d--a]", "v"],
      ["[\\p{L}", "v"],
      ["a", "uv"],
      ["a", "ii"],
    ]
  ) {
    assertThrows(() => regex(pattern, flags), GraphError, "transform regex: Invalid");
  }
  assertThrows(
    () => regex("\\p{L}(", "iu"),
    GraphError,
    "transform regex: Invalid regular expression: /\\p{L}(/iu: Unterminated group",
  );
});

Deno.test("transform regex of many classes is compiled in a process, not in the server", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 10);
  const pattern = "[\\S]".repeat(4000) + "x";
  await assertRejects(() => apply([{ kind: "regex", pattern, flags: "iu" }], "a"), GraphError);
  clearInterval(timer);
  assertLess(1, turns);
  assertEquals(
    await apply([{ kind: "regex", pattern: "\\p{Lu}\\w+", flags: "u" }], "an Émile"),
    "Émile",
  );
});

Deno.test("parseTransforms refuses what it does not know", () => {
  for (
    const bad of [
      "trim",
      ["shout"],
      [{ kind: "regex", pattern: "(" }],
      [{ kind: "regex" }],
      [{ kind: "regex", pattern: "(a)", group: {} }],
      [{ kind: "json", path: "$.a b" }],
      [{ kind: "json", path: '$["\\x"]' }],
      [{ kind: "template" }],
      [null],
      Array(17).fill("trim"),
    ]
  ) {
    const error = assertThrows(() => parseTransforms(bad), GraphError);
    assertEquals((error as GraphError).code, "invalid");
  }
});

/** Processes that this one has started and that run (on Linux). */
async function children(): Promise<number[]> {
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const status = await Deno.readTextFile(`/proc/${name}/status`).catch(() => "");
    if (/^PPid:\s*(\d+)/m.exec(status)?.[1] !== String(Deno.pid)) continue;
    if (!/^State:\s*Z/m.test(status)) found.push(Number(name));
  }
  return found;
}
