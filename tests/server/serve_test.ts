import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Surface } from "../../src/server/context.ts";
import { serve, type ServeOptions } from "../../src/server/serve.ts";
import { startServer } from "../../src/server/start_server.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { until } from "../support/until.ts";

Deno.test("serve on port 0 picks a port and says where", async () => {
  const pool = new FakeEnginePool();
  await using server = await serve({ port: 0, pool });
  assertMatch(server.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert(server.port > 0);
  assertEquals(await (await fetch(`${server.url}/health`)).json(), { status: "ok" });
  assertEquals(await (await server.fetch(new Request(`${server.url}/health`))).json(), {
    status: "ok",
  });
});

Deno.test("serve refuses a bind beyond loopback without a key, unless insecure", async () => {
  const pool = new FakeEnginePool();
  await assertRejects(
    () => serve({ host: "0.0.0.0", port: 0, pool }),
    TypeError,
    "API key",
  );
  for (const way of [{ apiKeys: ["k"] }, { insecure: true }]) {
    await using server = await serve({ host: "0.0.0.0", port: 0, pool, ...way });
    const response = await fetch(`http://127.0.0.1:${server.port}/v1/models`);
    assertEquals(response.status, "apiKeys" in way ? 401 : 200);
    await response.body?.cancel();
  }
});

Deno.test("serve on loopback without a key turns other host names away, and what is none", async () => {
  const pool = new FakeEnginePool();
  await using server = await serve({ port: 0, pool });
  const cases = [["evil.example", 403], ["localhost:999999", 400], ["a b", 400]] as const;
  for (const [host, status] of cases) {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await socket.write(new TextEncoder().encode(
      `GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    ));
    const text = await new Response(socket.readable).text();
    assertMatch(text, new RegExp(`^HTTP/1\\.1 ${status}`), host);
  }
});

Deno.test("serve says that a port is taken, and leaves a given pool open", async () => {
  const pool = new FakeEnginePool({ reply: () => "ok" });
  await using server = await serve({ port: 0, pool });
  await assertRejects(
    () => serve({ port: server.port, pool }),
    Deno.errors.AddrInUse,
    String(server.port),
  );
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "x" }),
  });
  assertEquals((await response.json()).choices[0].text, "ok");
});

Deno.test("serve that is refused leaves no engine, store or port open", async () => {
  const model = new URL("../golden/models/tiny_llama_q8_0.gguf", import.meta.url).pathname;
  const folder = await Deno.makeTempDir();
  const store = `${folder}/sessions`;
  const pool = new FakeEnginePool();
  await using server = await serve({ port: 0, pool });
  const wrong: [ServeOptions, new (message: string) => Error, string][] = [
    [{ apiKeys: [""] }, RangeError, "an empty key"],
    [{ drainMs: NaN }, RangeError, "drainMs: expected milliseconds of at least 0, got NaN"],
    [{ maxQueue: 0 }, RangeError, "maxWaiting is 0"],
    [{ sizes: { contextLength: -1 } }, RangeError, "contextLength is -1"],
    [{ store: "/nowhere/store" }, Error, "open the store /nowhere/store"],
    [{ port: server.port, store }, Deno.errors.AddrInUse, "is taken"],
    [{ parrotPort: server.port, store }, Deno.errors.AddrInUse, "is taken"],
  ];
  try {
    for (const [options, type, words] of wrong) {
      const given = { port: 0, models: [model], ...options };
      await assertRejects(() => serve(given), type, words);
    }
    await using _ = await serve({ port: 0, store, pool });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("serve names the address that cannot be bound", async () => {
  const pool = new FakeEnginePool();
  await assertRejects(
    () => serve({ port: 0, host: "192.0.2.1", insecure: true, pool }),
    Error,
    "serve: port 0 of 192.0.2.1: ",
  );
});

Deno.test("serve opens and closes the listeners of surfaces", async () => {
  const calls: string[] = [];
  const surface: Surface = {
    name: "side",
    mount: () => calls.push("mount"),
    listen: () => {
      calls.push("listen");
      return Promise.resolve({
        address: "nowhere",
        close: () => {
          calls.push("close listener");
          return Promise.resolve();
        },
      });
    },
    close: () => {
      calls.push("close");
      return Promise.resolve();
    },
  };
  const server = await startServer({ port: 0, pool: new FakeEnginePool() }, [surface]);
  assertEquals(server.listeners, ["nowhere"]);
  await server.shutdown();
  assertEquals(calls, ["mount", "listen", "close", "close listener"]);
});

Deno.test("shutdown lets a stream end, then closes the port", async () => {
  const pool = new FakeEnginePool({ reply: () => "a few words", tokenDelayMs: 5 });
  const server = await serve({ port: 0, pool });
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "x", stream: true }),
  });
  const text = response.text();
  await until(() => pool.load()[0].running === 1, "the generation runs");
  await server.shutdown(5000);
  assert((await text).endsWith("data: [DONE]\n\n"));
  await server.finished;
  await assertRejects(() => fetch(server.url));
});

Deno.test("shutdown lets a whole answer out that it waited for", async () => {
  const pool = new FakeEnginePool({ reply: () => "some words", startDelayMs: 50 });
  await using server = await serve({ pool, port: 0, parrotPort: 0 });
  const answer = fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "x" }),
  });
  await until(() => pool.load()[0].running === 1, "the generation runs");
  await server.shutdown(20_000);
  assertEquals((await (await answer).json()).choices[0].text, "some words");
});

Deno.test("shutdown cuts a client that does not read", async () => {
  const pool = new FakeEnginePool({ reply: () => "x".repeat(2e5), contextLength: 1e6 });
  const server = await serve({ port: 0, pool });
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const body = JSON.stringify({ prompt: "x", stream: true, max_tokens: 2e5 });
  await socket.write(new TextEncoder().encode(
    `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`,
  ));
  await until(() => pool.load()[0].running === 1, "the generation runs");
  const start = performance.now();
  await server.shutdown(20);
  assert(performance.now() - start < 4000, "the silent client is cut");
  socket.close();
});

Deno.test({
  name: "serve outlives more connections than it has file descriptors for",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const source = (path: string) => new URL(`../../${path}`, import.meta.url).href;
    const script = `
      import { startServer } from "${source("src/server/start_server.ts")}";
      import { FakeEnginePool } from "${source("tests/support/fake_engine_pool.ts")}";
      const server = await startServer({ port: 0, pool: new FakeEnginePool() }, []);
      console.log(server.port);
      Deno.addSignalListener("SIGTERM", () => server.shutdown().then(() => Deno.exit(0)));`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const limited = 'ulimit -n 64; exec "$0" "$@"';
    await using child = new Deno.Command("sh", {
      args: ["-c", limited, Deno.execPath(), "eval", "--config", config, script],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const port = Number((await reader.read()).value);
    reader.releaseLock();
    const said = new Response(child.stderr).text();
    const connections: Deno.Conn[] = [];
    while (connections.length < 100) {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
      if (!connection) break;
      connections.push(connection);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const connection of connections) connection.close();
    await until(
      () =>
        fetch(`http://127.0.0.1:${port}/health`).then(
          (answer) => answer.text().then(() => answer.ok),
          () => false,
        ),
      "the port answers again",
    );
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0);
    assertMatch(await said, /connections are refused for a moment.*Too many open files/);
  },
});

Deno.test("serve says that it has no models", async () => {
  const words = "models: got none, expected at least one GGUF file, or a pool";
  await assertRejects(() => serve({ port: 0 }), TypeError, words);
  await assertRejects(() => serve({ port: 0, models: [] }), TypeError, words);
});
