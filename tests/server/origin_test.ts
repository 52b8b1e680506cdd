import { assertEquals, assertStringIncludes } from "@std/assert";
import { defaultSurfaces } from "../../src/server/surfaces.ts";
import { originProblem } from "../../src/server/origin_problem.ts";
import { testApp } from "../support/test_app.ts";
import { startParrot } from "./parrot_support.ts";

const paths = [
  "/v1/session",
  "/v1/semantic_var",
  "/v1/semantic_call",
  "/v1/py_native_call",
  "/v1/images/upscale",
  "/v1/videos/upscale",
  "/v1/chat/completions",
];

Deno.test("a guarded server refuses pages of others before it reads what they send", async () => {
  const { app } = testApp({}, { allowedHosts: [] }, defaultSurfaces());
  try {
    for (const origin of ["https://evil.example", "null", "http://localhost:3000", "nonsense"]) {
      for (const path of paths) {
        const request = new Request(`http://localhost:8080${path}`, {
          method: "POST",
          headers: { Origin: origin, "Content-Type": "text/plain" },
          body: "{}",
        });
        const response = await app.fetch(request);
        assertEquals(response.status, 403, `${origin} ${path}`);
        const { error } = await response.json();
        assertEquals(error.code, "origin_not_allowed");
        assertStringIncludes(
          error.message,
          `a page of ${origin}, expected one of http://localhost`,
        );
        assertEquals(request.bodyUsed, false);
      }
    }
  } finally {
    await app.shutdown(0);
  }
});

Deno.test("a guarded server answers its own pages, those that CORS lets in, and what is no page", async () => {
  const app = (corsOrigins: string[]) =>
    testApp({}, { allowedHosts: ["gpu.lan"], corsOrigins }, defaultSurfaces()).app;
  const some = app(["https://app.example"]);
  const any = app(["*"]);
  const cases = [
    [some, undefined],
    [some, "http://localhost:8080"],
    [some, "http://127.0.0.1:8080"],
    [some, "http://gpu.lan:8080"],
    [some, "https://app.example"],
    [any, "https://evil.example"],
    [any, "null"],
  ] as const;
  try {
    for (const [to, origin] of cases) {
      const response = await to.fetch(
        new Request("http://localhost:8080/v1/session", {
          method: "POST",
          headers: origin === undefined ? {} : { Origin: origin },
          body: "{}",
        }),
      );
      assertEquals(response.status, 200, origin);
      await response.body?.cancel();
    }
  } finally {
    await Promise.all([some.shutdown(0), any.shutdown(0)]);
  }
});

Deno.test("a server with a key takes any page's requests, which hold the key, but no socket of others", async () => {
  const { get } = testApp({}, { apiKeys: ["k"] }, defaultSurfaces());
  const headers = { Authorization: "Bearer k", Origin: "https://evil.example" };
  const models = await get("/v1/models", headers);
  assertEquals(models.status, 200);
  await models.body?.cancel();
  for (const origin of [headers.Origin, "null"]) {
    const socket = await get("/v1/videos/live", {
      ...headers,
      Origin: origin,
      Upgrade: "websocket",
    });
    assertEquals(socket.status, 403, origin);
    assertEquals((await socket.json()).error.code, "origin_not_allowed");
  }
});

Deno.test("originProblem compares hosts with their ports, and takes loopback's names for one", () => {
  const allowed = (origin: string, url: string) =>
    originProblem(origin, new URL(url), { allowedHosts: ["gpu.lan"], corsOrigins: [] }) ===
      undefined;
  assertEquals(allowed("http://[::1]:80", "http://localhost/"), true);
  assertEquals(allowed("https://gpu.lan", "http://gpu.lan/"), true);
  assertEquals(allowed("http://10.0.0.1:8080", "http://10.0.0.1:8080/"), true);
  assertEquals(allowed("http://10.0.0.2:8080", "http://10.0.0.1:8080/"), false);
  assertEquals(allowed("http://localhost:8080", "http://10.0.0.1:8080/"), false);
  assertEquals(allowed("http://localhost:8081", "http://localhost:8080/"), false);
  assertEquals(allowed("http://gpu.lan.evil.example", "http://gpu.lan/"), false);
});

Deno.test("Parrot's port refuses pages of others in its own shape, and answers its own and clients", async () => {
  await using server = await startParrot();
  const post = async (headers: Record<string, string>) => {
    const response = await fetch(`${server.base}/v1/session`, {
      method: "POST",
      headers: { "Content-Type": "text/plain", ...headers },
      body: "{}",
    });
    return { status: response.status, body: await response.json() };
  };
  const { status, body } = await post({ Origin: "https://evil.example" });
  assertEquals(status, 403);
  assertStringIncludes(body.error, "a page of https://evil.example");
  assertEquals(body.traceback, "");
  assertEquals((await post({ Origin: server.base })).status, 200);
  assertEquals((await post({})).status, 200);
});

Deno.test("Parrot's port goes by the Host header, whatever the path looks like, and refuses what is no address", async () => {
  await using server = await startParrot();
  const { port } = new URL(server.base);
  const cases = [
    ["GET //127.0.0.1/health", "evil.example", 403, "Host evil.example is not this machine"],
    ["GET //evil.example/health", "127.0.0.1", 404, "Not Found: //evil.example/health"],
    ["GET /health", "localhost:999999", 400, "Host localhost:999999 and path /health"],
    ["TRACE /health", "127.0.0.1", 405, "Method Not Allowed"],
    ["GET /v1/session/%ff", "127.0.0.1", 400, "expected percent-encoded UTF-8"],
  ] as const;
  for (const [line, host, status, words] of cases) {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
    await socket.write(new TextEncoder().encode(
      `${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    ));
    const text = await new Response(socket.readable).text();
    assertStringIncludes(text, `HTTP/1.1 ${status} `, line);
    assertStringIncludes(text, words, line);
  }
});
