import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { sendRaw, startParrot } from "./parrot_support.ts";

const out = (name: string, tokens: number) => ({
  name,
  is_output: true,
  sampling_config: { temperature: 0, max_gen_length: tokens },
});

/** Opens a session and submits one call; returns its last variable's id and the session's query. */
async function oneCall(server: Awaited<ReturnType<typeof startParrot>>, tokens = 6) {
  const { session_id, session_auth } = await server.open();
  const body = { session_id, template: "Say {{a}}", parameters: [out("a", tokens)] };
  const { json } = await server.send("POST", "/v1/semantic_call", body);
  return {
    id: json.param_info[0].var_id as string,
    session_id,
    session_auth,
    query: `session_id=${session_id}&session_auth=${session_auth}`,
  };
}

/** A request for a variable's content, on the main port. */
function contentRequest(
  id: string,
  session: { session_id: number; session_auth: string },
  init?: RequestInit,
): Request {
  const query = `session_id=${session.session_id}&session_auth=${session.session_auth}`;
  return new Request(`http://localhost/v1/semantic_var/${id}/content?${query}`, init);
}

Deno.test("semantic_var/{id}/stream sends pieces as they are generated, then says that it is done", async () => {
  await using server = await startParrot();
  const { id, query, session_id } = await oneCall(server);
  const answer = await server.fetch(
    new Request(`http://localhost/v1/semantic_var/${id}/stream?${query}`),
  );
  assertStringIncludes(answer.headers.get("content-type") ?? "", "text/event-stream");
  const events = (await answer.text()).split("\n\n").filter((line) => line !== "")
    .map((line) => JSON.parse(line.replace("data: ", "")));
  assertEquals(events.at(-1), { done: true });
  assert(events.length > 3, `${events.length} events`);
  const text = events.slice(0, -1).map((event) => event.text).join("");
  const whole = await server.send("GET", `/v1/semantic_var/${id}`, { session_id });
  assertEquals(text, whole.json.content);
  const again = await server.fetch(
    new Request(`http://localhost/v1/semantic_var/${id}/stream?${query}`),
  );
  assertEquals(await again.text(), `data: ${JSON.stringify({ text })}\n\ndata: {"done":true}\n\n`);
});

Deno.test("semantic_var/{id}/stream works on Parrot's own port, with fields in the body", async () => {
  await using server = await startParrot();
  const { id, session_id, session_auth } = await oneCall(server);
  const reply = await server.send("GET", `/v1/semantic_var/${id}/stream`, {
    session_id,
    session_auth,
  });
  assertEquals(reply.status, 200);
  assertStringIncludes(reply.type, "text/event-stream");
  assertStringIncludes(reply.json, '{"done":true}');
});

Deno.test("semantic_var/{id}/stream ends with the error when the work fails", async () => {
  await using server = await startParrot({}, { fault: () => new RangeError("too long") });
  const { id, query } = await oneCall(server);
  const answer = await server.fetch(
    new Request(`http://localhost/v1/semantic_var/${id}/stream?${query}`),
  );
  const event = JSON.parse((await answer.text()).replace("data: ", ""));
  assertEquals(Object.keys(event), ["error", "traceback", "status"]);
  assertStringIncludes(event.error, "too long");
  assertEquals(event.status, 400);
});

Deno.test("semantic_var/{id}/content gives and takes raw bytes", async () => {
  await using server = await startParrot();
  const { session_id, session_auth } = await server.open();
  const { json: { var_id } } = await server.send("POST", "/v1/semantic_var", {
    session_id,
    session_auth,
    var_name: "image",
  });
  const url =
    `http://localhost/v1/semantic_var/${var_id}/content?session_id=${session_id}&session_auth=${session_auth}`;
  const bytes = new Uint8Array([0, 255, 128, 10]);
  const put = await server.fetch(
    new Request(url, { method: "PUT", body: bytes, headers: { "Content-Type": "image/png" } }),
  );
  assertEquals([put.status, await put.json()], [200, {}]);
  const got = await server.fetch(new Request(url));
  assertEquals(got.headers.get("content-type"), "image/png");
  assertEquals(new Uint8Array(await got.arrayBuffer()), bytes);
  const value = await server.send("GET", `/v1/semantic_var/${var_id}`, {
    session_id,
    session_auth,
  });
  assertEquals(value.json.content, "data:image/png;base64,AP+ACg==");
  const twice = await server.fetch(new Request(url, { method: "PUT", body: bytes }));
  assertEquals([twice.status, Object.keys(await twice.json())], [409, ["error", "traceback"]]);
});

Deno.test("semantic_var/{id}/content of a text is the text, whatever it begins like", async () => {
  await using server = await startParrot();
  const { session_id, session_auth } = await server.open();
  const read = async (content: string) => {
    const { json } = await server.send("POST", "/v1/semantic_var", {
      session_id,
      session_auth,
      var_name: "v",
      content,
    });
    const answer = await server.fetch(contentRequest(json.var_id, { session_id, session_auth }));
    return [answer.status, answer.headers.get("content-type"), await answer.text()];
  };
  const plain = "text/plain; charset=utf-8";
  for (const text of ["data: one, two", "data:, 50% of it", "data:so, it ends", "data:a/b c,d"]) {
    assertEquals(await read(text), [200, plain, text]);
  }
  assertEquals(await read("data:text/plain;charset=utf-8,a%20b"), [
    200,
    "text/plain;charset=utf-8",
    "a b",
  ]);
  assertEquals(await read('data:a/b;c="d";base64,YQ=='), [200, 'a/b;c="d"', "a"]);
});

Deno.test("semantic_var/{id}/content takes bytes under any Content-Type, and texts in their encoding", async () => {
  await using server = await startParrot();
  const session = await server.open();
  const put = async (type: string, body: Uint8Array<ArrayBuffer>) => {
    const made = await server.send("POST", "/v1/semantic_var", { ...session, var_name: "v" });
    const headers = { "Content-Type": type };
    const request = contentRequest(made.json.var_id, session, { method: "PUT", body, headers });
    const put = await server.fetch(request);
    if (put.status !== 200) return [put.status, (await put.json()).error];
    const answer = await server.fetch(contentRequest(made.json.var_id, session));
    const got = new Uint8Array(await answer.arrayBuffer());
    return [put.status, answer.headers.get("content-type"), got];
  };
  const bytes = new Uint8Array([0, 255]);
  assertEquals(await put('image/png; name="a,b;base64,"', bytes), [200, "image/png", bytes]);
  assertEquals(await put("nonsense", bytes), [200, "application/octet-stream", bytes]);
  const latin = new Uint8Array([107, 228, 115, 101]);
  assertEquals(await put("Text/Plain; charset=ISO-8859-1", latin), [
    200,
    "text/plain; charset=utf-8",
    new TextEncoder().encode("käse"),
  ]);
  for (const charset of ["utf-8", "klingon"]) {
    const [status, words] = await put(`text/plain; charset=${charset}`, latin);
    assertEquals(status, 400);
    assertStringIncludes(String(words), `content: expected text in ${charset}`);
  }
});

Deno.test("semantic_var DELETE stops the work, and its readers are told", async () => {
  await using server = await startParrot();
  const { id, query, session_id } = await oneCall(server, 100_00);
  const reading = server.send("GET", `/v1/semantic_var/${id}`, { session_id, criteria: "latency" });
  while (server.pool.load()[0].running === 0) await new Promise((r) => setTimeout(r, 2));
  const stopped = await server.fetch(
    new Request(`http://localhost/v1/semantic_var/${id}?${query}`, { method: "DELETE" }),
  );
  assertEquals([stopped.status, await stopped.json()], [200, {}]);
  const reply = await reading;
  assertEquals(reply.status, 503);
  assertStringIncludes(reply.json.error, "cancelled");
  assertEquals(server.pool.load()[0].running, 0);
});

Deno.test("apps: a whole graph in one request, its description, and errors in OpenAI's shape", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `[${prompt}]` });
  const post = (json: unknown) =>
    server.fetch(
      new Request("http://localhost/v1/apps", {
        method: "POST",
        body: JSON.stringify(json),
        headers: { "Content-Type": "application/json" },
      }),
    );
  const call = (from: string, to: string) => ({
    template: "{{i}}>{{o}}",
    parameters: [{ name: "i", is_output: false, ref: from }, { ...out("o", 50), ref: to }],
  });
  const answer = await (await post({
    variables: [{ ref: "start", content: "s" }],
    // The second names what the third puts out: order does not matter.
    calls: [call("start", "a"), call("b", "c"), call("a", "b")],
    outputs: { c: "latency" },
  })).json();
  assertEquals(answer.request_ids, [0, 1, 2]);
  assertEquals(Object.keys(answer.variables).sort(), ["a", "b", "c", "start"]);
  const { session_id, session_auth } = answer;
  const c = await server.send("GET", `/v1/semantic_var/${answer.variables.c}`, {
    session_id,
    criteria: "latency",
  });
  assertEquals(c.json.content, "[[[s>]>]>]");
  const describe = `http://localhost/v1/apps/${session_id}?session_auth=${session_auth}`;
  const graph = await (await server.fetch(new Request(describe))).json();
  assertEquals(graph.nodes.map((node: { state: string }) => node.state), ["done", "done", "done"]);
  assertEquals(graph.nodes.map((node: { depth: number }) => node.depth), [0, 2, 1]);
  assertEquals(graph.nodes[0].criteria, "latency");
  assertEquals(graph.totals.done, 3);
  assert(graph.totals.prompt_tokens > 0);
  for (
    const [bad, status] of [
      [{ calls: [call("nowhere", "x")] }, 400],
      [{ calls: [call("x", "y"), call("y", "x")] }, 400],
      [{ calls: [{ template: 5 }] }, 400],
      [{ outputs: { x: "latency" } }, 404],
      [{ session_id: 12345 }, 404],
      [{ variables: "none" }, 400],
    ] as const
  ) {
    const reply = await post(bad);
    const { error } = await reply.json();
    assertEquals(reply.status, status, JSON.stringify(error));
    assertEquals(typeof error.message, "string");
  }
  // What is refused leaves no call in a session that goes on.
  for (
    const bad of [
      { outputs: { x: "latency" } },
      { outputs: { d: "soon" } },
      { reads: [{ ref: "x" }] },
      { reads: [{ ref: "d", criteria: "soon" }] },
      { calls: [call("start", "d"), call("nowhere", "x")] },
      { calls: [call("start", "d"), { template: 5 }] },
    ]
  ) {
    const variables = [{ ref: "start", content: "s" }];
    const app = { session_id, session_auth, variables, calls: [call("start", "d")], ...bad };
    const reply = await post(app);
    assertEquals(Math.floor(reply.status / 100), 4, JSON.stringify(bad));
    await reply.body?.cancel();
    const after = await (await server.fetch(new Request(describe))).json();
    assertEquals(after.nodes.length, 3, JSON.stringify(bad));
  }
  const wrong = await server.fetch(
    new Request(`http://localhost/v1/apps/${session_id}?session_auth=no`),
  );
  assertEquals((await wrong.json()).error.type, "authentication_error");
});

Deno.test("apps: a header's key and the number of elements are looked at before the elements", async () => {
  const limits = { variables: 10, calls: 2 };
  await using server = await startParrot({ apiKeys: ["k"], graph: { limits } });
  const post = async (json: unknown, key?: string) => {
    const headers = new Headers({ "Content-Type": "application/json" });
    if (key !== undefined) headers.set("Authorization", `Bearer ${key}`);
    const body = JSON.stringify(json);
    const request = new Request("http://localhost/v1/apps", { method: "POST", headers, body });
    const answer = await server.fetch(request);
    return [answer.status, (await answer.json()).error?.message] as const;
  };
  const [status, words] = await post({ variables: [5] }, "wrong");
  assertEquals(status, 401, words);
  assertEquals((await post({ api_key: "k" }))[0], 200);
  const many = (length: number) => Array.from({ length }, () => 5);
  for (
    const [body, expected] of [
      [{ variables: many(100_001) }, "variables: got 100001 elements, expected at most 100000"],
      [{ calls: many(50_001) }, "calls: got 50001 elements, expected at most 50000"],
      [
        { calls: [{ template: "a {{o}}", parameters: many(100_001) }] },
        "parameters: got 100001 elements, expected at most 100000",
      ],
    ] as const
  ) {
    const [status, words] = await post(body, "k");
    assertEquals(status, 400);
    assertStringIncludes(words, expected);
  }
  // What a session has no room for is refused before it is looked up.
  const same = Array.from({ length: 11 }, () => ({ ref: "same" }));
  const calls = Array.from({ length: 3 }, () => ({ template: 5 }));
  for (
    const [body, what] of [
      [{ variables: same }, "would hold 11 variables, expected at most 10"],
      [{ calls }, "would hold 3 calls, expected at most 2"],
    ] as const
  ) {
    const [status, words] = await post(body, "k");
    assertEquals(status, 429, words);
    assertStringIncludes(words, what);
  }
});

Deno.test("apps: a client that leaves a stream does not stop what others wait for", async () => {
  await using server = await startParrot();
  const { id, query, session_id } = await oneCall(server, 40);
  const leave = new AbortController();
  const stream = sendRaw(
    server.base,
    "GET",
    `/v1/semantic_var/${id}/stream?${query}`,
    undefined,
    leave.signal,
  );
  while (server.pool.load()[0].running === 0) await new Promise((r) => setTimeout(r, 2));
  leave.abort();
  await stream.catch(() => {});
  const reply = await server.send("GET", `/v1/semantic_var/${id}`, {
    session_id,
    criteria: "latency",
  });
  assertEquals(reply.status, 200);
});
