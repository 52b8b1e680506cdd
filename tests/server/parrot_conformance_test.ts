import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { assertClientError, callBody, out, startParrot } from "./parrot_support.ts";

Deno.test("parrot POST /v1/session gives an exact random integer and a secret", async () => {
  await using server = await startParrot();
  const first = await server.send("POST", "/v1/session", { api_key: "1" });
  const second = await server.send("POST", "/v1/session", {});
  assertEquals(first.status, 200);
  assertEquals(Object.keys(first.json).sort(), ["session_auth", "session_id"]);
  assert(Number.isSafeInteger(first.json.session_id));
  assertMatch(first.json.session_auth, /^[0-9a-f]{32}$/);
  assertNotEquals(first.json.session_id, second.json.session_id);
});

Deno.test("parrot POST /v1/session wants a body that parses", async () => {
  await using server = await startParrot();
  assertClientError(await server.send("POST", "/v1/session"), 400, "body");
  assertClientError(await server.send("POST", "/v1/session", "{"), 400, "body");
  assertClientError(await server.send("POST", "/v1/session", "[1]"), 400, "object");
});

Deno.test("parrot DELETE /v1/session checks the secret, then forgets the session", async () => {
  await using server = await startParrot();
  const { session_id, session_auth } = await server.open();
  const path = `/v1/session/${session_id}`;
  assertClientError(await server.send("DELETE", path, { session_auth: "x" }), 401, "session_auth");
  assertClientError(await server.send("DELETE", path), 400, "body");
  const gone = await server.send("DELETE", path, { session_auth });
  assertEquals([gone.status, gone.json], [200, {}]);
  assertClientError(await server.send("DELETE", path, { session_auth }), 404, "not found");
  const late = await server.send("POST", "/v1/semantic_var", { session_id, var_name: "x" });
  assertClientError(late, 404, `Session (session_id=${session_id}) not found.`);
});

Deno.test("parrot semantic_call answers param_info per placeholder, in the template's order", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const reply = await server.send(
    "POST",
    "/v1/semantic_call",
    callBody(session_id, "{{b}} and {{a}} and {{b}}: {{y}} then {{x}}. The end.", [
      { name: "a", is_output: false, value: "1" },
      { name: "b", is_output: false, value: "2" },
      { name: "unused", is_output: false, value: "3" },
      out("x"),
      out("y"),
    ], { retry_times: 1 }),
  );
  assertEquals(reply.status, 200);
  assertEquals(reply.json.request_id, 0);
  const info: { parameter_name: string; is_output: boolean; var_name: string; var_id: string }[] =
    reply.json.param_info;
  assertEquals(info.map((p) => p.parameter_name), ["b", "a", "b", "y", "x"]);
  assertEquals(info.map((p) => p.is_output), [false, false, false, true, true]);
  for (const entry of info) {
    assertEquals(Object.keys(entry).sort(), ["is_output", "parameter_name", "var_id", "var_name"]);
    assertEquals(typeof entry.var_id, "string");
  }
  assertEquals(new Set(info.map((p) => p.var_id)).size, 5);
});

Deno.test("parrot semantic_call runs nothing until an output is asked for", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  await server.send("POST", "/v1/semantic_call", callBody(session_id, "Say {{a}}", [out("a")]));
  await new Promise((r) => setTimeout(r, 30));
  assertEquals(server.pool.load()[0].promptTokens, 0);
  const eager = callBody(session_id, "Say {{a}}", [out("a")], { output_criteria: "throughput" });
  await server.send("POST", "/v1/semantic_call", eager);
  while (server.pool.load()[0].generatedTokens < 4) await new Promise((r) => setTimeout(r, 2));
});

Deno.test("parrot semantic_call with three outputs sets each, later ones from the text before them", async () => {
  const prompts: string[] = [];
  await using server = await startParrot({}, {
    answer: (prompt) => {
      prompts.push(prompt);
      return `<${prompts.length}>`;
    },
  });
  const { session_id } = await server.open();
  const body = callBody(session_id, "A {{x}} B {{y}} C {{z}} D", [out("x"), out("y"), out("z")]);
  const { param_info } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const read = (i: number) =>
    server.send("GET", `/v1/semantic_var/${param_info[i].var_id}`, {
      session_id,
      criteria: "latency",
    });
  const [z, x, y] = await Promise.all([read(2), read(0), read(1)]);
  assertEquals([x, y, z].map((r) => r.json), [
    { content: "<1>" },
    { content: "<2>" },
    { content: "<3>" },
  ]);
  assertEquals(prompts, ["A ", "A <1> B ", "A <1> B <2> C "]);
});

Deno.test("parrot semantic_call refuses malformed bodies, and names what is wrong", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const post = (body: unknown) => server.send("POST", "/v1/semantic_call", body);
  const bad = async (template: string, parameters: unknown[], part: string, rest = {}) =>
    assertClientError(await post(callBody(session_id, template, parameters, rest)), 400, part);
  assertClientError(await post({ session_id, parameters: [] }), 400, "template");
  assertClientError(await post({ session_id, template: "x" }), 400, "parameters");
  assertClientError(await post({ template: "x", parameters: [] }), 400, "session_id");
  assertClientError(
    await post({ session_id: "abc", template: "x", parameters: [] }),
    400,
    "session_id",
  );
  await bad("Say {{a}}", [], "no entry");
  await bad("{{a}} first", [out("a")], "begins with output");
  await bad("nothing", [], "no output");
  await bad("", [], "no output");
  await bad("x {{a}}", [{ ...out("a"), surprise: 1 }], "surprise");
  await bad("x {{a}}", [out("a", 4, { surprise: 1 })], "surprise");
  await bad("x {{a}}", [out("a", 4, { temperature: "hot" })], "temperature");
  await bad("x {{a}}", [out("a", 0)], "max_gen_length");
  await bad("x {{a}}", [{ ...out("a"), value: "v" }], "value");
  await bad("{{i}} {{a}}", [{ name: "i", is_output: false }, out("a")], "neither");
  await bad(
    "{{i}} {{a}}",
    [{ name: "i", is_output: false, value: "v", var_id: "w" }, out("a")],
    "both",
  );
  await bad(
    "{{i}} {{a}}",
    [{ ...out("i"), is_output: false, value: "v" }, out("a")],
    "sampling_config",
  );
  await bad("x {{a}} {{a}}", [out("a")], "twice");
  await bad("x {{a}}", [out("a")], "criteria", { output_criteria: "soon" });
  const unknown = callBody(session_id, "{{i}} {{a}}", [
    { name: "i", is_output: false, var_id: "nobody" },
    out("a"),
  ]);
  assertClientError(await post(unknown), 404, "nobody");
  const listed = await server.send("GET", "/v1/semantic_var", { session_id });
  assertEquals(listed.json.variables, [], "a refused call leaves nothing behind");
});

Deno.test("parrot semantic_call accepts a pre-allocated output, once", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const { var_id } = (await server.send("POST", "/v1/semantic_var", { session_id, var_name: "v" }))
    .json;
  const early = server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    criteria: "latency",
  });
  const body = callBody(session_id, "Say {{a}}", [{ ...out("a"), var_id }]);
  await new Promise((r) => setTimeout(r, 20));
  const reply = await server.send("POST", "/v1/semantic_call", body);
  assertEquals(reply.json.param_info[0].var_id, var_id);
  assertEquals((await early).json.content.length, 16);
  assertClientError(await server.send("POST", "/v1/semantic_call", body), 409, "already");
});

Deno.test("parrot semantic_call refuses a cycle through pre-allocated variables", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const make = async (name: string) =>
    (await server.send("POST", "/v1/semantic_var", { session_id, var_name: name })).json.var_id;
  const [a, b] = [await make("a"), await make("b")];
  const link = (from: string, to: string) =>
    server.send(
      "POST",
      "/v1/semantic_call",
      callBody(session_id, "{{i}}: {{o}}", [
        { name: "i", is_output: false, var_id: from },
        { ...out("o"), var_id: to },
      ]),
    );
  assertEquals((await link(a, b)).status, 200);
  assertClientError(await link(b, a), 400, "cycle");
  assertClientError(await link(b, b), 409, "output of another call");
});

Deno.test("parrot semantic_var is set once, by a string, and waited for", async () => {
  await using server = await startParrot();
  const { session_id, session_auth } = await server.open();
  const made = await server.send("POST", "/v1/semantic_var", {
    session_id,
    session_auth,
    var_name: "x",
  });
  assertEquals(Object.keys(made.json), ["var_id"]);
  const path = `/v1/semantic_var/${made.json.var_id}`;
  const waiting = server.send("GET", path, { session_id, session_auth, criteria: "throughput" });
  await new Promise((r) => setTimeout(r, 30));
  assertClientError(await server.send("POST", path, { session_id, content: 5 }), 400, "content");
  const set = await server.send("POST", path, { session_id, session_auth, content: "héllo\n" });
  assertEquals([set.status, set.json], [200, {}]);
  assertEquals((await waiting).json, { content: "héllo\n" });
  assertClientError(await server.send("POST", path, { session_id, content: "again" }), 409, "once");
  const ready = await server.send("GET", path, { session_id, criteria: "bogus" });
  assertEquals(ready.json, { content: "héllo\n" }, "a ready variable ignores criteria");
});

Deno.test("parrot semantic_var refuses unknown ids, criteria and secrets", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const { var_id } =
    (await server.send("POST", "/v1/semantic_var", { session_id, var_name: "x" })).json;
  const get = (id: string, rest: object) =>
    server.send("GET", `/v1/semantic_var/${id}`, { session_id, ...rest });
  assertClientError(
    await get("nope", { criteria: "latency" }),
    404,
    "Unknown Semantic Variable ID: nope",
  );
  assertClientError(await get(var_id, { criteria: "soon" }), 400, "criteria");
  assertClientError(await get(var_id, {}), 400, "criteria");
  assertClientError(
    await get(var_id, { criteria: "latency", session_auth: "no" }),
    401,
    "session_auth",
  );
  assertClientError(await server.send("GET", `/v1/semantic_var/${var_id}`), 400, "session_id");
  assertClientError(await server.send("POST", "/v1/semantic_var", { session_id }), 400, "var_name");
  const stranger = await server.open();
  const theirs = { session_id: stranger.session_id, criteria: "latency" };
  assertClientError(await server.send("GET", `/v1/semantic_var/${var_id}`, theirs), 404, var_id);
});

for (const criteria of ["latency", "throughput", "TTFT", "TPOT"]) {
  Deno.test(`parrot criteria ${criteria} is accepted`, async () => {
    await using server = await startParrot();
    const { session_id } = await server.open();
    const body = callBody(session_id, "Say {{a}}", [out("a")]);
    const { param_info: [{ var_id }] } =
      (await server.send("POST", "/v1/semantic_call", body)).json;
    const reply = await server.send("GET", `/v1/semantic_var/${var_id}`, { session_id, criteria });
    assertEquals(reply.status, 200);
  });
}

Deno.test("parrot future variables: a chain of calls runs with only its end asked for", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const { session_id } = await server.open();
  let input: object = { name: "i", is_output: false, value: "s" };
  let last = "";
  for (let step = 0; step < 3; step++) {
    const body = callBody(session_id, "{{i}}{{o}}", [input, out("o", 100)]);
    const { param_info } = (await server.send("POST", "/v1/semantic_call", body)).json;
    last = param_info[1].var_id;
    input = { name: "i", is_output: false, var_id: last };
  }
  const reply = await server.send("GET", `/v1/semantic_var/${last}`, {
    session_id,
    criteria: "latency",
  });
  assertEquals(reply.json.content, "[[[s]]]");
});

Deno.test("parrot unknown paths and methods are JSON errors too", async () => {
  await using server = await startParrot();
  assertClientError(await server.send("GET", "/v1/nothing"), 404, "Not Found");
  assertClientError(await server.send("PUT", "/v1/session", {}), 405, "PUT");
  for (
    const refused of [
      await server.fetch(new Request("http://localhost/v1/session/1", { method: "PUT" })),
      await fetch(`${server.base}/v1/session/1`, { method: "PUT" }),
    ]
  ) {
    assertEquals([refused.status, refused.headers.get("Allow")], [405, "GET, DELETE"]);
    await refused.body?.cancel();
  }
  const models = await server.send("GET", "/v1/models");
  assertEquals(models.status, 200, "other routes of the server answer on this port as well");
});
