import { assert, assertEquals } from "@std/assert";
import { Departures, openConnections } from "../../src/server/departures.ts";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { until } from "../support/until.ts";

const ignore = Deno.build.os !== "linux";
const body = '{"prompt":"x"}';
const headers = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;

/** Sends a request in these parts, with a pause between them, and calls `then` with its connection. */
async function send(
  hostname: string,
  port: number,
  parts: string[],
  then: (c: Deno.TcpConn) => Promise<void>,
) {
  const connection = await Deno.connect({ hostname, port });
  for (const part of parts) {
    await connection.write(new TextEncoder().encode(part));
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await then(connection);
}

for (const [listen, hostname] of [["127.0.0.1", "127.0.0.1"], ["::", "127.0.0.1"], ["::", "::1"]]) {
  Deno.test({
    name:
      `a client of ${hostname} that leaves is noticed, one that stays is answered (server on ${listen})`,
    ignore,
    async fn() {
      const asked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const answers = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const signals: AbortSignal[] = [];
      const server = Deno.serve(
        { hostname: listen, port: 0, onListen() {} },
        (request, info) =>
          departures.answer(request, info.remoteAddr, async (request) => {
            await request.text();
            const number = signals.push(request.signal) - 1;
            asked[number].resolve();
            if (number === 0) request.signal.addEventListener("abort", () => answers[0].resolve());
            await answers[number].promise;
            return new Response("done");
          }),
      );
      const departures: Departures = new Departures(() => server.addr.port, 20);
      const parts = [headers, body];
      await send(hostname, server.addr.port, parts, async (leaving) => {
        await asked[0].promise;
        await send(hostname, server.addr.port, parts, async (staying) => {
          await asked[1].promise;
          leaving.close();
          await answers[0].promise;
          assert(signals[0].aborted);
          await new Promise((resolve) => setTimeout(resolve, 100));
          assertEquals(signals[1].aborted, false);
          answers[1].resolve();
          const found = new Uint8Array(500);
          const text = new TextDecoder().decode(found.subarray(0, await staying.read(found) ?? 0));
          assert(text.startsWith("HTTP/1.1 200"), text);
          staying.close();
        });
      });
      await server.shutdown();
      await departures.ended();
    },
  });
}

Deno.test({
  name: "a half-closed connection is not open",
  ignore,
  async fn() {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const port = listener.addr.port;
    const [client, server] = await Promise.all([
      Deno.connect({ hostname: "127.0.0.1", port }),
      listener.accept(),
    ]);
    const name = `127.0.0.1:${(client.localAddr as Deno.NetAddr).port}`;
    assertEquals((await openConnections(port)).has(name), true);
    await client.closeWrite();
    assertEquals((await openConnections(port)).has(name), false);
    client.close();
    server.close();
    listener.close();
  },
});

Deno.test({
  name: "a client whose body says no length is seen to leave, too",
  ignore,
  async fn() {
    const pool = new FakeEnginePool({ tokenDelayMs: 20, reply: () => "x".repeat(3000) });
    await using server = await serve({ pool, port: 0, parrotPort: 0 });
    const chunk = JSON.stringify({ prompt: "hello", max_tokens: 3000 });
    const parts = [
      "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
      `${chunk.length.toString(16)}\r\n${chunk}\r\n0\r\n\r\n`,
    ];
    await send("127.0.0.1", server.port, parts, async (client) => {
      await until(() => pool.load()[0].running === 1, "the generation runs");
      client.close();
      await until(() => pool.load()[0].running === 0, "the generation is stopped");
    });
  },
});
