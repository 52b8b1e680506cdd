import { assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

const encoder = new TextEncoder();
const prompt = '{"prompt":"hello","max_tokens":1}';

interface Upload {
  port: number;
  path: string;
  type?: string;
  framing?: string;
  parts: string[];
  pauseMs: number;
}

/** The answer to a body that comes in parts, of which there are more to come. */
async function answerTo(
  { port, path, type = "application/json", framing = "Content-Length: 500", parts, pauseMs }:
    Upload,
): Promise<string> {
  const client = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\n`;
    await client.write(encoder.encode(`${head}${framing}\r\n\r\n`));
    for (const part of parts) {
      await client.write(encoder.encode(part));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    const bytes = new Uint8Array(4096);
    let text = "";
    // Head and body may come apart.
    while (!/\}\s*$/.test(text)) {
      const length = await client.read(bytes);
      if (length === null) break;
      text += new TextDecoder().decode(bytes.subarray(0, length));
    }
    return text;
  } finally {
    client.close();
  }
}

Deno.test("a body of which nothing comes for long is given up with 408, on every route and port", async () => {
  await using server = await serve({
    pool: new FakeEnginePool(),
    port: 0,
    parrotPort: "any",
    bodyIdleMs: 300,
  });
  const chunked = "Transfer-Encoding: chunked";
  const cases: [path: string, type: string, framing: string, part: string, bytes: number][] = [
    ["/v1/completions", "application/json", "Content-Length: 500", '{"prompt":', 10],
    ["/v1/completions", "application/json", chunked, 'a\r\n{"prompt":\r\n', 10],
    ["/v1/images/upscale", "image/png", "Content-Length: 7000000", "\x89PNG", 5],
    ["/v1/semantic_call", "application/json", "Content-Length: 500", "{", 1],
    ["/v1/apps", "application/json", "Content-Length: 500", "", 0],
  ];
  for (const [path, type, framing, part, bytes] of cases) {
    const parts = part === "" ? [] : [part];
    const answer = await answerTo({ port: server.port, path, type, framing, parts, pauseMs: 0 });
    assertStringIncludes(answer, "HTTP/1.1 408", path);
    assertStringIncludes(answer.toLowerCase(), "connection: close");
    assertStringIncludes(answer, `body: nothing came for 0.3 s after ${bytes} bytes`);
    if (!path.includes("semantic")) assertStringIncludes(answer, '"code":"body_stalled"');
  }
  const parrot = server.listeners.map((address) => new URL(address)).at(-1)!;
  const answer = await answerTo({
    port: Number(parrot.port),
    path: "/v1/semantic_call",
    parts: ["{"],
    pauseMs: 0,
  });
  assertStringIncludes(answer, "HTTP/1.1 408");
  assertStringIncludes(answer, "body: nothing came for 0.3 s after 1 bytes");
});

Deno.test("a body that comes slowly but comes is answered, however long it takes", async () => {
  await using server = await serve({ pool: new FakeEnginePool(), port: 0, bodyIdleMs: 400 });
  const began = performance.now();
  const answer = await answerTo({
    port: server.port,
    path: "/v1/completions",
    framing: `Content-Length: ${prompt.length}`,
    parts: [...prompt.match(/.{1,4}/g)!],
    pauseMs: 100,
  });
  assertStringIncludes(answer, "HTTP/1.1 200");
  assertEquals(performance.now() - began > 800, true);
});
