import { assertEquals, assertStringIncludes } from "@std/assert";
import { DeviceLostError } from "../../src/common/errors.ts";
import {
  assertClientError,
  callBody,
  fastCost,
  out,
  sendRaw,
  startParrot,
} from "./parrot_support.ts";

Deno.test("parrot DELETE /v1/session ends the work and answers those who wait", async () => {
  await using server = await startParrot({}, {
    cost: { ...fastCost, overheadMs: 50 },
  });
  const { session_id, session_auth } = await server.open();
  const body = callBody(session_id, "Say {{a}}", [out("a", 1000)]);
  const { param_info: [{ var_id }] } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const waiting = server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    session_auth,
    criteria: "latency",
  });
  while (server.pool.load()[0].running === 0) await new Promise((r) => setTimeout(r, 5));
  await server.send("DELETE", `/v1/session/${session_id}`, { session_auth });
  assertClientError(await waiting, 503, "was closed");
  assertEquals(server.pool.load()[0].running, 0);
  assertEquals(server.pool.load()[0].pagesUsed, 0);
});

Deno.test("parrot a failing engine answers everyone downstream, and hangs nobody", async () => {
  await using server = await startParrot({}, {
    fault: (prompt) =>
      prompt.includes("bad") ? new RangeError("the prompt is too long") : undefined,
  });
  const { session_id } = await server.open();
  const first =
    (await server.send("POST", "/v1/semantic_call", callBody(session_id, "bad {{a}}", [out("a")])))
      .json;
  const a = first.param_info[0].var_id;
  const second = (await server.send(
    "POST",
    "/v1/semantic_call",
    callBody(session_id, "{{i}} {{b}} {{c}}", [
      { name: "i", is_output: false, var_id: a },
      out("b"),
      out("c"),
    ]),
  )).json;
  const ids = [a, second.param_info[1].var_id, second.param_info[2].var_id];
  const replies = await Promise.all(
    ids.map((id) =>
      server.send("GET", `/v1/semantic_var/${id}`, { session_id, criteria: "latency" })
    ),
  );
  for (const reply of replies) assertClientError(reply, 400, "too long");
  const late = callBody(session_id, "{{i}} {{d}}", [
    { name: "i", is_output: false, var_id: a },
    out("d"),
  ]);
  const d = (await server.send("POST", "/v1/semantic_call", late)).json.param_info[1].var_id;
  const reply = await server.send("GET", `/v1/semantic_var/${d}`, {
    session_id,
    criteria: "latency",
  });
  assertClientError(reply, 400, "too long");
  const alive = callBody(session_id, "good {{e}}", [out("e")], { output_criteria: "latency" });
  const e = (await server.send("POST", "/v1/semantic_call", alive)).json.param_info[0].var_id;
  assertEquals(
    (await server.send("GET", `/v1/semantic_var/${e}`, { session_id, criteria: "latency" })).status,
    200,
  );
});

Deno.test("parrot a lost device is retried before anything was shown of the call", async () => {
  let losses = 1;
  await using server = await startParrot({}, {
    fault: () => losses-- > 0 ? new DeviceLostError("the host died") : undefined,
  });
  const { session_id } = await server.open();
  const body = callBody(session_id, "Say {{a}}", [out("a")]);
  const { param_info: [{ var_id }] } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const reply = await server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    criteria: "latency",
  });
  assertEquals(reply.status, 200);
});

Deno.test("parrot a model that nobody serves is an error, not a hang", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const body = callBody(session_id, "Say {{a}}", [out("a")], { models: ["llama-900b"] });
  const { param_info: [{ var_id }] } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const reply = await server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    criteria: "latency",
  });
  assertClientError(reply, 503, "llama-900b");
  const unknownType = callBody(session_id, "Say {{a}}", [out("a")], { model_type: "telepathy" });
  const other =
    (await server.send("POST", "/v1/semantic_call", unknownType)).json.param_info[0].var_id;
  const fine = await server.send("GET", `/v1/semantic_var/${other}`, {
    session_id,
    criteria: "latency",
  });
  assertEquals(fine.status, 200, "the server does not die of it");
});

Deno.test("parrot an output that the template does not name is refused: nothing would set it", async () => {
  await using server = await startParrot();
  const { session_id, session_auth } = await server.open();
  const body = callBody(session_id, "Say {{a}} { {b}} {{ b }}", [out("a"), out("b")]);
  const reply = await server.send("POST", "/v1/semantic_call", body);
  assertClientError(
    reply,
    400,
    "template: output {{b}} is given in parameters, expected its place",
  );
  const session = await server.send("GET", `/v1/session/${session_id}`, { session_auth });
  assertEquals([session.json.variables, session.json.calls], [0, 0]);
});

Deno.test("parrot an expired session answers not found", async () => {
  await using server = await startParrot({ graph: { sessionLifeSpanMs: 40 } });
  const { session_id } = await server.open();
  await new Promise((r) => setTimeout(r, 80));
  const reply = await server.send("POST", "/v1/semantic_var", { session_id, var_name: "x" });
  assertClientError(reply, 404, "not found");
});

Deno.test("parrot a waiting reader keeps its session alive", async () => {
  await using server = await startParrot({ graph: { sessionLifeSpanMs: 40 } });
  const { session_id } = await server.open();
  const { var_id } =
    (await server.send("POST", "/v1/semantic_var", { session_id, var_name: "x" })).json;
  const path = `/v1/semantic_var/${var_id}`;
  const waiting = server.send("GET", path, { session_id, criteria: "latency" });
  await new Promise((r) => setTimeout(r, 120));
  await server.send("POST", path, { session_id, content: "v" });
  assertEquals((await waiting).json.content, "v");
});

Deno.test("parrot deadline_ms fails the output and frees the engine", async () => {
  await using server = await startParrot({}, {
    cost: { ...fastCost, overheadMs: 20 },
  });
  const { session_id } = await server.open();
  const body = callBody(session_id, "Say {{a}}", [out("a", 1000)], { deadline_ms: 100 });
  const { param_info: [{ var_id }] } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const reply = await server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    criteria: "latency",
  });
  assertClientError(reply, 504, "deadline");
  assertEquals(server.pool.load()[0].running, 0);
});

Deno.test("parrot a reader that leaves does not take the value with it", async () => {
  await using server = await startParrot({}, {
    cost: { ...fastCost, overheadMs: 10 },
  });
  const { session_id } = await server.open();
  const body = callBody(session_id, "Say {{a}}", [out("a", 20)]);
  const { param_info: [{ var_id }] } = (await server.send("POST", "/v1/semantic_call", body)).json;
  const leave = new AbortController();
  const path = `/v1/semantic_var/${var_id}`;
  const left = sendRaw(server.base, "GET", path, { session_id, criteria: "latency" }, leave.signal);
  setTimeout(() => leave.abort(), 50);
  await left.catch(() => {});
  const reply = await server.send("GET", path, { session_id, criteria: "latency" });
  assertEquals(reply.status, 200);
});

Deno.test("parrot py_native_call is refused with a reason unless allowed", async () => {
  await using server = await startParrot();
  const { session_id } = await server.open();
  const reply = await server.send("POST", "/v1/py_native_call", {
    session_id,
    output_criteria: null,
    func_name: "f",
    func_code: "AAAA",
    parameters: [{ name: "o", is_output: true }],
  });
  assertClientError(reply, 403, "--allow-native-calls");
});

/** Marshals f of `source`, as Parrot's client does; undefined where there is no Python. */
async function marshalled(source: string): Promise<string | undefined> {
  const program = "import marshal,base64,sys\nspace={}\nexec(sys.argv[1],space)\n" +
    "print(base64.b64encode(marshal.dumps(space['f'].__code__)).decode(),end='')";
  try {
    const args = ["-c", program, source];
    const { success, stdout } = await new Deno.Command("python3", { args }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

Deno.test("parrot py_native_call, where allowed, runs on variables and answers failures", async () => {
  const reverse = await marshalled("def f(text, times, out):\n  out.set(text[::-1] * times)");
  const raises = await marshalled("def f(text, out):\n  raise ValueError(text)");
  if (reverse === undefined || raises === undefined) {
    console.log("skipped: native functions need python3, which is not installed");
    return;
  }
  await using server = await startParrot({ allowNativeCalls: true }, { answer: () => "abc" });
  const { session_id } = await server.open();
  const made = await server.send(
    "POST",
    "/v1/semantic_call",
    callBody(session_id, "Say {{a}}", [out("a")]),
  );
  const a = made.json.param_info[0].var_id;
  const native = async (func_code: string, parameters: unknown[]) =>
    (await server.send("POST", "/v1/py_native_call", {
      session_id,
      output_criteria: null,
      func_name: "f",
      func_code,
      parameters,
    })).json;
  const text = { name: "text", is_output: false, var_id: a };
  const output = { name: "out", is_output: true };
  const good = await native(reverse, [text, { name: "times", is_output: false, value: 2 }, output]);
  assertEquals(
    good.param_info.map((info: { parameter_name: string }) => info.parameter_name),
    ["text", "out"],
    "parameters with a value are left out",
  );
  const bad = await native(raises, [text, output]);
  const read = (reply: { param_info: { var_id: string }[] }) =>
    server.send("GET", `/v1/semantic_var/${reply.param_info[1].var_id}`, {
      session_id,
      criteria: "latency",
    });
  assertEquals((await read(good)).json, { content: "cbacba" });
  assertClientError(await read(bad), 500, "raised ValueError: abc");
});

Deno.test("parrot keys: api_key in the body or a bearer token, and secrets are asked for", async () => {
  await using server = await startParrot({ apiKeys: ["k1", "k2"] });
  assertClientError(await server.send("POST", "/v1/session", { api_key: "1" }), 401, "API key");
  const { json } = await server.send("POST", "/v1/session", { api_key: "k1" });
  const { session_id, session_auth } = json;
  const make = (rest: object) =>
    server.send("POST", "/v1/semantic_var", { session_id, var_name: "x", ...rest });
  assertClientError(await make({}), 401, "session_auth is required");
  assertEquals((await make({ session_auth })).status, 200);
  const call = await server.send(
    "POST",
    "/v1/semantic_call",
    callBody(session_id, "Say {{a}}", [out("a")]),
  );
  assertEquals(call.status, 200, "the reference's client sends no secret with calls");
  const callAs = async (key: string) => {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    const body = JSON.stringify(callBody(session_id, "Say {{b}}", [out("b")]));
    const url = "http://localhost/v1/semantic_call";
    const answer = await server.fetch(new Request(url, { method: "POST", headers, body }));
    await answer.body?.cancel();
    return answer.status;
  };
  assertEquals([await callAs("k2"), await callAs("k1")], [401, 200]);
  const bearer = (key: string) =>
    server.fetch(
      new Request(`http://localhost/v1/semantic_var?session_id=${session_id}`, {
        headers: { Authorization: `Bearer ${key}` },
      }),
    );
  const own = await bearer("k1");
  assertEquals((await own.json()).variables.length, 3);
  const other = await bearer("k2");
  assertEquals(other.status, 401);
  await other.body?.cancel();
});

Deno.test("parrot keys: one leaves others sessions and characters, and metrics show how many there are", async () => {
  const apiKeys = ["k1", "k2"];
  await using server = await startParrot({ apiKeys, graph: { maxSessions: 4, maxChars: 20_000 } });
  const open = (key: string) => server.send("POST", "/v1/session", { api_key: key });
  const { json: first } = await open("k1");
  assertEquals((await open("k1")).status, 200);
  assertClientError(await open("k1"), 429, "of this key hold 2 sessions");
  const { json: other } = await open("k2");
  const make = (session: object, chars: number) =>
    server.send("POST", "/v1/semantic_var", {
      ...session,
      var_name: "x",
      content: "x".repeat(chars),
    });
  assertClientError(await make(first, 12_000), 429, "of this key hold 0 characters");
  assertEquals((await make(first, 9000)).status, 200);
  assertEquals((await make(other, 3000)).status, 200);
  const headers = { Authorization: "Bearer k1" };
  const metrics = await server.fetch(new Request("http://127.0.0.1/metrics", { headers }));
  const text = await metrics.text();
  assertStringIncludes(text, "\nsparrow_application_sessions 3\n");
  assertStringIncludes(text, "\nsparrow_application_characters 13024\n");
});

Deno.test("a key that shares its prefixes shares no sessions", async () => {
  const keys = ["k1", "k2"];
  await using server = await startParrot({ apiKeys: keys, sharePrefixes: true });
  const { json } = await server.send("POST", "/v1/session", { api_key: "k1" });
  const read = async (key: string) => {
    const url = `http://127.0.0.1/v1/apps/${json.session_id}`;
    const headers = { Authorization: `Bearer ${key}` };
    const answer = await server.fetch(new Request(url, { headers }));
    await answer.body?.cancel();
    return answer.status;
  };
  assertEquals([await read("k1"), await read("k2")], [200, 401]);
  // A prefix that the one has had filled is there for the other.
  const cached = [];
  for (const key of keys) {
    const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
    const parameters = [{
      name: "o",
      is_output: true,
      ref: "o",
      sampling_config: { max_gen_length: 4 },
    }];
    const body = JSON.stringify({
      calls: [{ template: `${"one long beginning ".repeat(30)} {{o}}`, parameters }],
      outputs: { o: "latency" },
      reads: [{ ref: "o" }],
    });
    const request = new Request("http://127.0.0.1/v1/apps", { method: "POST", headers, body });
    const text = await (await server.fetch(request)).text();
    const { session_id, session_auth } = JSON.parse(text.split("\n")[0].slice(6));
    const url = `http://127.0.0.1/v1/apps/${session_id}?session_auth=${session_auth}`;
    const described = await (await server.fetch(new Request(url, { headers }))).json();
    cached.push(described.totals.cached_tokens > 0);
  }
  assertEquals(cached, [false, true]);
});

Deno.test("parrot refuses addresses and bodies that are none on any path, and logs no client that left", async () => {
  await using server = await startParrot();
  const stream = "/v1/semantic_var/v/stream";
  assertClientError(await server.send("GET", stream, "{"), 400, "body: ");
  assertClientError(await server.send("GET", stream, "[1]"), 400, "expected a JSON object");
  const { hostname, port } = new URL(server.base);
  const logged: string[] = [];
  const print = console.error;
  console.error = (...words) => logged.push(words.join(" "));
  try {
    const connect = () => Deno.connect({ hostname, port: Number(port) });
    const bytes = (text: string) => new TextEncoder().encode(text);
    using bad = await connect();
    await bad.write(bytes("GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n"));
    const answer = await new Response(bad.readable).text();
    assertStringIncludes(answer, "400 Bad Request");
    assertStringIncludes(answer, "Host a b and path / make no address");
    const left = await connect();
    const head = "POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{";
    await left.write(bytes(head));
    await new Promise((r) => setTimeout(r, 30));
    left.close();
    await new Promise((r) => setTimeout(r, 50));
  } finally {
    console.error = print;
  }
  assertEquals(logged, []);
});
