import { assertEquals } from "@std/assert";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { until } from "../support/until.ts";

const host = "Host: 127.0.0.1\r\n";
/** A connection that is closed with an answer unread is reset. */
const unread = `GET /health HTTP/1.1\r\n${host}\r\n`;

for (
  const [name, before, framing, start] of [
    ["says its length", "", "Content-Length: 500", '{"prompt":'],
    ["says its length, by a reset,", unread, "Content-Length: 500", '{"prompt":'],
    ["comes in chunks", "", "Transfer-Encoding: chunked", 'a\r\n{"prompt":\r\n'],
    ["comes in chunks, by a reset,", unread, "Transfer-Encoding: chunked", 'a\r\n{"prompt":\r\n'],
  ]
) {
  Deno.test(`a client that leaves within a body that ${name} counts as one that left`, async () => {
    await using server = await serve({ pool: new FakeEnginePool(), port: 0, parrotPort: 0 });
    for (const path of ["/v1/completions", "/v1/apps"]) {
      const client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
      const head = `${before}POST ${path} HTTP/1.1\r\n${host}Content-Type: application/json\r\n`;
      await client.write(new TextEncoder().encode(`${head}${framing}\r\n\r\n${start}`));
      await new Promise((resolve) => setTimeout(resolve, 50));
      client.close();
      let statuses: string[] = [];
      await until(async () => {
        const metrics = await (await fetch(`${server.url}/metrics`)).text();
        const series = metrics.split("\n").filter((line) => line.includes(`route="${path}"`));
        statuses = series.map((line) => line.match(/status="(\d+)"/)?.[1] ?? "");
        return statuses.length > 0;
      }, "the request is counted");
      assertEquals(statuses, ["499"], path);
    }
  });
}
