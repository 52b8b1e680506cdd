import {
  assert,
  assertEquals,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { chainSummary } from "../../examples/chain_summary.ts";
import { developSoftware } from "../../examples/coder_reviewer.ts";
import { mapReduce } from "../../examples/map_reduce.ts";
import { askTogether } from "../../examples/shared_prompt_chat.ts";
import {
  GraphRequestError,
  GraphSession,
  input,
  output,
  semanticFunction,
} from "../../src/client/mod.ts";
import { fastCost, type ParrotServer, startParrot } from "../server/parrot_support.ts";

const echo = semanticFunction`Say ${input("text")}: ${output("said", { maxTokens: 64 })}`;

Deno.test("semanticFunction keeps slots in order and refuses what cannot run", () => {
  const two = semanticFunction`A ${input("x")} B ${output("y")} C ${input("x")} D ${output("z")}`;
  assertEquals(two.template, "A {{x}} B {{y}} C {{x}} D {{z}}");
  assertEquals([...two.inputs.keys()], ["x"]);
  assertEquals([...two.outputs.keys()], ["y", "z"]);
  assertThrows(() => semanticFunction`${output("y")}`, TypeError, "nothing before");
  assertThrows(() => semanticFunction`x ${output("y")} ${output("y")}`, TypeError, "twice");
  assertThrows(() => semanticFunction`x ${input("y")} ${output("y")}`, TypeError, "twice");
  assertThrows(() => semanticFunction`x ${input("y")}`, TypeError, "no output");
  assertThrows(() => semanticFunction`x {{y}} ${output("z")}`, TypeError, "slot");
  assertThrows(() => input("a b"), TypeError, "a b");
  for (const slot of ["y", undefined, { kind: "other" }]) {
    const other = slot as unknown as ReturnType<typeof input>;
    assertThrows(
      () => semanticFunction`x ${other} ${output("z")}`,
      TypeError,
      "expected input() or output()",
    );
  }
});

Deno.test("GraphSession sends a whole graph in one request, and reads its end", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const seen: string[] = [];
  const fetch = (request: Request) => {
    seen.push(`${request.method} ${new URL(request.url).pathname.replace(/[0-9a-f-]{36}/, "ID")}`);
    return server.fetch(request);
  };
  await using session = new GraphSession({ fetch });
  const { said: first } = session.call(echo, { text: "a" });
  const { said: second } = session.call(echo, { text: first });
  const { said: third } = session.call(echo, { text: second });
  assertEquals(await third.get(), "[Say [Say [Say a: ]: ]: ]");
  // The value came with the answer to the graph: one round trip in all.
  assertEquals(seen, ["POST /v1/apps"]);
  const { said: later } = session.call(echo, { text: first });
  await session.flushed();
  assertEquals(await later.get({ criteria: "throughput" }), "[Say [Say a: ]: ]");
  assertEquals(seen.slice(1), ["POST /v1/apps", "GET /v1/semantic_var/ID"]);
});

Deno.test("GraphSession refuses variables of another session, sent or not", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  await using one = new GraphSession({ fetch: server.fetch });
  await using other = new GraphSession({ fetch: server.fetch });
  const { said: theirs } = one.call(echo, { text: "a" });
  const refused = () =>
    assertThrows(
      () => other.call(echo, { text: theirs }),
      TypeError,
      "call: input text is the variable said of another session",
    );
  refused();
  assertThrows(() => other.transform(theirs, []), TypeError, "of another session");
  await one.flushed();
  refused();
  assertEquals(
    await other.call(echo, { text: await theirs.get() }).said.get(),
    "[Say [Say a: ]: ]",
  );
});

Deno.test("GraphSession names inputs and numbers that are none", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  await using session = new GraphSession({ fetch: server.fetch });
  for (const value of [5, null, {}]) {
    assertThrows(
      () => session.call(echo, { text: value as unknown as string }),
      TypeError,
      `call: input text is ${value}, expected a text or a variable`,
    );
  }
  const endless = semanticFunction`Say ${input("text")}: ${output("said", { maxTokens: NaN })}`;
  await assertRejects(
    () => session.call(endless, { text: "a" }).said.get(),
    TypeError,
    "max_gen_length is NaN, expected a finite number",
  );
  assertEquals(await session.call(echo, { text: "a" }).said.get(), "[Say a: ]");
});

Deno.test("GraphSession is of no use after it was disposed of", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const session = new GraphSession({ fetch: server.fetch });
  const { said } = session.call(echo, { text: "a" });
  await said.get();
  await session[Symbol.asyncDispose]();
  await session[Symbol.asyncDispose]();
  const words = "graph session was disposed of";
  assertThrows(() => session.call(echo, { text: "a" }), TypeError, words);
  assertThrows(() => session.variable("a", "b"), TypeError, words);
  await assertRejects(() => session.describe(), TypeError, words);
  await assertRejects(() => said.get(), TypeError, words);
});

Deno.test("GraphSession disposed of in the turn of a read tells its reader, and hides no error of its scope", async () => {
  await using server = await startParrot();
  let gone = false;
  const fetch = (request: Request) =>
    gone ? Promise.reject(new TypeError("refused")) : server.fetch(request);
  const session = new GraphSession({ fetch });
  const { said } = session.call(echo, { text: "a" });
  const reads = Promise.allSettled([said.get(), said.stream().next()]);
  await session[Symbol.asyncDispose]();
  const ends = await reads;
  assertEquals(ends.map(({ status }) => status), ["rejected", "rejected"]);
  for (const end of ends) {
    assertStringIncludes(String((end as PromiseRejectedResult).reason), "disposed");
  }
  const scope = async () => {
    await using other = new GraphSession({ fetch });
    await other.call(echo, { text: "a" }).said.get();
    gone = true;
    await other.call(echo, { text: "b" }).said.get();
  };
  await assertRejects(scope, TypeError, "POST http://127.0.0.1:8080/v1/apps: no answer");
});

Deno.test("GraphSession streams, transforms, and tells of failures", async () => {
  await using server = await startParrot({}, {
    answer: (prompt) => prompt.includes("json") ? 'Sure: {"a": [1, "two"]}' : "one two three",
    fault: (prompt) => prompt.includes("bad") ? new RangeError("too long") : undefined,
  });
  await using session = new GraphSession({ fetch: server.fetch });
  const pieces: string[] = [];
  for await (const piece of session.call(echo, { text: "x" }).said.stream()) pieces.push(piece);
  assertEquals(pieces.join(""), "one two three");
  assert(pieces.length > 1, "pieces come as they are generated");
  const { said } = session.call(echo, { text: "json" });
  const picked = session.transform(said, [{ kind: "json", path: "$.a[1]" }, {
    kind: "template",
    template: "<{{value}}>",
  }]);
  assertEquals(await picked.get(), "<two>");
  const number = session.transform(said, [{ kind: "regex", pattern: "\\[(\\d+)" }]);
  assertEquals(await number.get(), "1");
  const missing = session.transform(said, [{ kind: "json", path: "$.b" }]);
  await assertRejects(() => missing.get(), GraphRequestError, "no value at $.b");
  const bad = session.call(echo, { text: "bad" }).said;
  const after = session.call(echo, { text: bad }).said;
  await assertRejects(() => after.get(), GraphRequestError, "too long");
  await assertRejects(
    async () => {
      for await (const _ of bad.stream()) { /* fails at once */ }
    },
    GraphRequestError,
    "too long",
  );
  const refused = await Promise.all(
    [bad.get(), bad.stream().next()].map((read) => read.then(() => 200, (error) => error.status)),
  );
  assertEquals(refused, [400, 400]);
});

Deno.test("GraphSession: a variable carries an image's bytes, and a cancelled one fails", async () => {
  await using server = await startParrot({
    graph: {
      upscaler: {
        upscale: (url, { scale }) => Promise.resolve(`${url}${btoa(`x${scale}`)}`),
      },
    },
  });
  await using session = new GraphSession({ fetch: server.fetch });
  const image = session.variable("image", `data:image/png;base64,${btoa("abc")}`);
  assertEquals(await image.bytes(), new TextEncoder().encode("abc"));
  const big = session.upscale(image, { scale: 4 });
  assertEquals(new TextDecoder().decode(await big.bytes()), "abcx4");
  const { said } = session.call(echo, { text: "x" });
  await session.flushed();
  await said.cancel();
  await assertRejects(() => said.get(), GraphRequestError, "cancelled");
  const described = await session.describe();
  assertEquals(described.nodes.map((node) => [node.kind, node.state]), [
    ["upscale", "done"],
    ["chain", "failed"],
  ]);
});

Deno.test("GraphSession with a refused batch rejects its readers", async () => {
  await using server = await startParrot();
  const session = new GraphSession({ fetch: server.fetch });
  const { said } = session.call(echo, { text: "x" }, { criteria: "soon" as "latency" });
  await assertRejects(() => said.get(), GraphRequestError, "criteria");
});

Deno.test("GraphSession goes on after a refused batch, whose failure is its own", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const session = new GraphSession({ fetch: server.fetch });
  await session.variable("first", "sent").set("again").catch(() => {});
  const refused = session.call(echo, { text: "x" }, { criteria: "soon" as "latency" }).said;
  await assertRejects(() => session.flushed(), GraphRequestError, "criteria");
  const { said } = session.call(echo, { text: "y" });
  assertEquals(await said.get(), "[Say y: ]");
  await session.flushed();
  await assertRejects(() => refused.get(), GraphRequestError, "criteria");
  // What reads a variable that was refused is refused too.
  const after = session.call(echo, { text: refused }).said;
  await assertRejects(() => after.get(), GraphRequestError, refused.ref);
  await session[Symbol.asyncDispose]();
});

Deno.test("GraphSession: a refused batch says which call, and leaves nothing of itself", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  await using session = new GraphSession({ fetch: server.fetch });
  const topic = session.variable("topic", "tea");
  await session.flushed();
  const good = session.call(echo, { text: topic }).said;
  const wrong = semanticFunction`Ask ${input("text")} ${output("answer", { topP: 3 })}`;
  const bad = session.call(wrong, { text: session.variable("more", "text") }).answer;
  const words = 'calls.1 ("Ask {{text}} {{answer}}"): sampling_config.top_p: got 3';
  await assertRejects(() => session.flushed(), GraphRequestError, words);
  await assertRejects(() => bad.get(), GraphRequestError, words);
  await assertRejects(() => good.get(), GraphRequestError, words);
  const { variables, nodes } = await session.describe();
  assertEquals(variables.map(({ name, consumers }) => [name, consumers]), [["topic", []]]);
  assertEquals(nodes, []);
  assertEquals(await session.call(echo, { text: topic }).said.get(), "[Say tea: ]");
});

Deno.test("GraphSession: a variable may get its value later, once", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  await using session = new GraphSession({ fetch: server.fetch });
  const review = session.variable("review");
  const said = session.call(echo, { text: review }).said.get();
  await review.set("good");
  assertEquals(await said, "[Say good: ]");
  await assertRejects(() => review.set("better"), GraphRequestError, "is ready already");
});

Deno.test("example chain_summary folds every chunk into one summary", async () => {
  let calls = 0;
  await using server = await startParrot({}, { answer: () => ` summary ${++calls}` });
  const summary = await chainSummary("line\n".repeat(100), { fetch: server.fetch }, 100);
  assertEquals(summary, " summary 5");
});

Deno.test("example map_reduce joins the summaries of all pieces", async () => {
  await using server = await startParrot({}, {
    answer: (prompt) =>
      prompt.startsWith("Summarise")
        ? ` ${prompt.match(/Text: (\w+)/)?.[1]} `
        : prompt.split("\n").slice(0, 2).join("+"),
  });
  const text = ["alpha", "beta", "gamma", "delta", "omega"].map((word) => `${word}\n`).join("");
  assertEquals(await mapReduce(text, { fetch: server.fetch }, 6), "alpha+beta+gamma+delta+omega");
});

Deno.test("example coder_reviewer revises every file by its review", async () => {
  await using server = await startParrot({}, {
    answer: (prompt) => {
      if (prompt.startsWith("You are a software")) return "the design";
      const file = prompt.match(/file (\S+?)[.]?(?:\s|$)/g)?.at(-1) ?? "";
      if (prompt.includes("Review the")) return ` review of ${file}`;
      const version = prompt.includes("Rewrite") ? "revised" : "first";
      return "```python\n" + `${version} ${file}\n` + "```";
    },
  });
  const files = await developSoftware("a game", { fetch: server.fetch }, 1);
  assertEquals(Object.keys(files), ["logic.py", "main.py"]);
  for (const text of Object.values(files)) assert(text.startsWith("revised "), text);
});

Deno.test("example shared_prompt_chat fills the shared prompt once", async () => {
  await using server = await startParrot();
  const questions = Array.from({ length: 8 }, (_, i) => `Question ${i}?`);
  let pieces = 0;
  const { answers, prefilledShare } = await askTogether(
    questions,
    { fetch: server.fetch },
    () => pieces++,
  );
  assertEquals(answers.length, 8);
  assert(pieces > 8);
  assertLess(prefilledShare ?? 1, 0.3);
});

Deno.test("GraphSession names the server that does not answer", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
  listener.close();
  const session = new GraphSession({ url });
  const { said } = session.call(echo, { text: "a" });
  await assertRejects(
    () => said.get(),
    TypeError,
    `expected one that listens at ${url}`,
  );
});

Deno.test("GraphSession reads on when its server is started anew, values, pieces and bytes", async () => {
  const folder = await Deno.makeTempDir();
  const options = { store: `${folder}/graph.db` };
  const engine = {
    answer: (prompt: string) => `[${prompt}]`.repeat(8),
    cost: { ...fastCost, overheadMs: 5 },
  };
  let server: ParrotServer | undefined = await startParrot(options, engine);
  const fetch = (request: Request) => {
    if (!server) throw new TypeError("connection refused");
    return server.fetch(request);
  };
  try {
    const session = new GraphSession({ fetch });
    const make = (text: string) => session.call(echo, { text }).said;
    const [early, late, piecewise, bytes] = ["early", "late", "piecewise", "bytes"].map(make);
    const values = [early.get()];
    await session.flushed();
    values.push(late.get(), bytes.bytes().then((raw) => new TextDecoder().decode(raw)));
    let pieces = "", before = "";
    for await (const piece of piecewise.stream()) {
      pieces += piece;
      if (before !== "") continue;
      before = piece;
      const old = server;
      server = undefined;
      await old?.[Symbol.asyncDispose]();
      setTimeout(async () => server = await startParrot(options, engine), 150);
    }
    const expected = (text: string) => `[Say ${text}: ]`.repeat(8);
    assertEquals(pieces, expected("piecewise"));
    assertLess(before.length, pieces.length);
    assertEquals(await Promise.all(values), ["early", "late", "bytes"].map(expected));
  } finally {
    await server?.[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("GraphSession gives up on a server that does not come back, and hides no other text", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const url = "http://127.0.0.1:1";
  let broken: ((path: string) => Response | undefined) | undefined;
  let asked = 0;
  const session = new GraphSession({
    url,
    reconnectMs: 250,
    fetch: (request) => {
      asked++;
      return broken?.(new URL(request.url).pathname) ?? server.fetch(request);
    },
  });
  const { said } = session.call(echo, { text: "a" });
  await session.flushed();
  asked = 0;
  broken = () => {
    throw new TypeError("connection refused");
  };
  const names = `expected one that listens at ${url}`;
  await assertRejects(() => said.get(), TypeError, names);
  await assertRejects(() => Array.fromAsync(said.stream()), TypeError, names);
  // Pauses of 100 and 150 ms each time.
  assertEquals(asked, 6);
  const leave = AbortSignal.timeout(20);
  await assertRejects(() => said.get({ signal: leave }), DOMException, "timeout");
  broken = () => {
    broken = undefined;
    return new Response('data: {"text": "something else"}\n\n');
  };
  await assertRejects(
    () => Array.fromAsync(said.stream()),
    GraphRequestError,
    "its text came otherwise",
  );
  // What the server refuses is no reason to ask again.
  const other = session.variable("x");
  await session.flushed();
  await other.cancel();
  asked = 0;
  await assertRejects(() => other.get(), GraphRequestError, "was cancelled");
  assertEquals(asked, 1);
  assertEquals(await said.get(), "[Say a: ]");
});
