import { assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
/** As ISO 8859-1 has them. */
const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

Deno.test("JSON that is not UTF-8, or said not to be, is refused on every port, and not read as other words", async () => {
  await using server = await serve({ pool: new FakeEnginePool(), port: 0, parrotPort: "any" });
  const parrot = server.listeners.map((address) => new URL(address)).at(-1)!.origin;
  const notUtf8 = "bytes that are not UTF-8";
  const latin = "said to be in ISO-8859-1, expected UTF-8";
  const json = "application/json";
  const cases: [type: string, body: Uint8Array<ArrayBuffer>, status: number, words: string][] = [
    [json, bytes('{"prompt":"caf\xe9"}'), 400, notUtf8],
    [json, bytes('{"prompt":"\xed\xa0\x80"}'), 400, notUtf8],
    [json, utf8('{"prompt":"é"}').subarray(0, 12), 400, notUtf8],
    [`${json}; charset=ISO-8859-1`, bytes('{"prompt":"caf\xe9"}'), 415, latin],
    [`${json}; charset="ISO-8859-1"`, utf8('{"prompt":"tea"}'), 415, latin],
  ];
  for (const [contentType, body, status, words] of cases) {
    for (
      const path of ["/v1/completions", "/v1/apps", "/v1/semantic_var"].map((path) =>
        server.url + path
      ).concat(`${parrot}/v1/semantic_var`, `${parrot}/v1/completions`)
    ) {
      const headers = { "Content-Type": contentType };
      const response = await fetch(path, { method: "POST", headers, body });
      const text = await response.text();
      assertEquals(response.status, status, path + text);
      assertStringIncludes(text, words);
    }
  }
  // Bytes are taken as they are.
  const session = await (await fetch(`${server.url}/v1/session`, { method: "POST", body: "{}" }))
    .json();
  const query = new URLSearchParams(session).toString();
  const variable = await (await fetch(`${server.url}/v1/semantic_var`, {
    method: "POST",
    body: JSON.stringify({ ...session, var_name: "v" }),
  })).json();
  const content = `${server.url}/v1/semantic_var/${variable.var_id}/content?${query}`;
  const put = await fetch(content, {
    method: "PUT",
    headers: { "Content-Type": `${json}; charset=ISO-8859-1` },
    body: bytes('"caf\xe9"'),
  });
  assertEquals([put.status, await put.text()], [200, "{}"]);
  // What names no type is read as JSON by these alone.
  for (const origin of [server.url, parrot]) {
    const response = await fetch(`${origin}/v1/session`, {
      method: "POST",
      body: bytes('{"\xe9":1}'),
    });
    assertStringIncludes(await response.text(), notUtf8);
    assertEquals(response.status, 400);
  }
});

Deno.test("JSON in UTF-8 is read however its type is written and wherever it is cut", async () => {
  const pool = new FakeEnginePool();
  await using server = await serve({ pool, port: 0 });
  const prompt = "é€😀".repeat(5);
  const body = utf8(JSON.stringify({ prompt, max_tokens: 1 }));
  for (const type of ["", "; charset=utf-8", ';charset="UTF-8"', "; charset=utf8", "; v=1"]) {
    // A stream begins where it is made.
    const cut = () =>
      new ReadableStream({
        async start(controller) {
          for (const byte of body) {
            controller.enqueue(Uint8Array.of(byte));
            await new Promise((resolve) => setTimeout(resolve, 0));
          }
          controller.close();
        },
      });
    for (const sent of type === "" ? [cut(), body] : [body]) {
      const response = await fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "Content-Type": `application/json${type}` },
        body: sent,
      });
      assertEquals(response.status, 200, type);
      await response.body?.cancel();
      assertEquals(pool.requests.at(-1)?.prompt, {
        type: "parts",
        parts: [{ type: "text", text: prompt, special: true }],
      });
    }
  }
});
