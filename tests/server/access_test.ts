import { assertEquals, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { answeredProtocol, Authenticator, bearerKey, socketKey } from "../../src/server/auth.ts";
import { isIpAddress, isLoopback } from "../../src/server/host_name.ts";
import { testApp } from "../support/test_app.ts";

const keyed = { apiKeys: ["first-key", "second-key"] };

Deno.test("a server with keys answers 401 in OpenAI's shape without a valid one", async () => {
  const { get } = testApp({}, keyed);
  for (
    const header of [undefined, "Bearer wrong", "Bearer first-ke", "Basic first-key", "Bearer"]
  ) {
    for (const path of ["/v1/models", "/metrics", "/v1/nothing"]) {
      const response = await get(path, header === undefined ? {} : { Authorization: header });
      assertEquals(response.status, 401, `${path} with ${header}`);
      assertEquals(response.headers.get("WWW-Authenticate"), "Bearer");
      assertEquals((await response.json()).error.code, "invalid_api_key");
    }
  }
});

Deno.test("a server with keys answers any of its keys, and health and pages without one", async () => {
  const { get } = testApp({}, keyed);
  for (const key of keyed.apiKeys) {
    const response = await get("/v1/models", { Authorization: `Bearer ${key}` });
    assertEquals(response.status, 200);
    await response.body?.cancel();
  }
  for (const path of ["/health", "/ready", "/", "/docs", "/apps", "/video", "/openapi.json"]) {
    const response = await get(path);
    assertEquals(response.status, 200, path);
    await response.body?.cancel();
  }
});

Deno.test("a surface with its own authentication is reached without a key, and its neighbours are not", async () => {
  const { get } = testApp({}, keyed, [{
    name: "own",
    ownAuth: ["/v1/session"],
    mount: (router, { auth }) => {
      router.get(
        "/v1/session",
        (c) => c.json({ scope: auth.identify("second-key")?.cacheScope ?? null }),
      );
      router.get("/v1/other", (c) => c.text("never"));
    },
  }]);
  const response = await get("/v1/session");
  assertEquals(response.status, 200);
  assertEquals(typeof (await response.json()).scope, "string");
  const other = await get("/v1/other");
  assertEquals(other.status, 401);
  await other.body?.cancel();
});

Deno.test("Authenticator gives each key a scope of its own that is not the key", () => {
  const auth = new Authenticator(keyed.apiKeys);
  const [first, second] = keyed.apiKeys.map((key) => auth.identify(key)?.cacheScope ?? "");
  assertNotEquals(first, second);
  assertNotEquals(first, "");
  assertEquals(first.includes("first"), false);
  assertEquals(auth.identify("third-key"), undefined);
  assertEquals(auth.identify(undefined), undefined);
});

Deno.test("Authenticator without keys lets everyone in, under one scope", () => {
  const auth = new Authenticator([]);
  assertEquals(auth.required, false);
  assertEquals(auth.identify(undefined), { tenant: "", cacheScope: "" });
  assertEquals(auth.identify("anything"), { tenant: "", cacheScope: "" });
});

Deno.test("bearerKey reads the header whatever the scheme's case, and nothing else", () => {
  assertEquals(bearerKey("Bearer abc"), "abc");
  assertEquals(bearerKey("bearer  abc "), "abc");
  assertEquals(bearerKey("Token abc"), undefined);
  assertEquals(bearerKey("Bearer a b"), undefined);
  assertEquals(bearerKey(undefined), undefined);
});

Deno.test("socketKey reads a key of any text from a socket's subprotocols, which never answer it", () => {
  const named = (key: string) =>
    `sparrow.key.${
      new TextEncoder().encode(key).toBase64({ alphabet: "base64url", omitPadding: true })
    }`;
  for (const key of ["k", "a b/c+d=,\u00e9", "first-key"]) {
    const header = `sparrow.live, ${named(key)}`;
    assertEquals(socketKey(header), key);
    assertEquals(socketKey(named(key)), key);
    assertEquals(answeredProtocol(header), "sparrow.live");
    assertEquals(answeredProtocol(named(key)), undefined);
  }
  assertEquals(socketKey("sparrow.live"), undefined);
  assertEquals(socketKey("sparrow.key.%%"), undefined);
  assertEquals(socketKey(undefined), undefined);
});

Deno.test("a key in a subprotocol lets in sockets only", async () => {
  const { get } = testApp({}, keyed);
  const offered = { "Sec-WebSocket-Protocol": `sparrow.key.${btoa("first-key").replace("=", "")}` };
  const plain = await get("/v1/videos/live", offered);
  assertEquals(plain.status, 401);
  await plain.body?.cancel();
  // No surface is mounted here: past the key there is no such route.
  const socket = await get("/v1/videos/live", { ...offered, Upgrade: "websocket" });
  assertEquals(socket.status, 404);
  await socket.body?.cancel();
});

Deno.test("createApp refuses keys that are empty or that no header carries", () => {
  assertThrows(() => testApp({}, { apiKeys: [""] }), RangeError, "empty key");
  for (const key of ["schlüssel", "two words", "line\n"]) {
    assertThrows(() => testApp({}, { apiKeys: ["good", key] }), RangeError, "no header carries");
  }
});

Deno.test("a guarded server answers only for loopback names, addresses and allowed hosts", async () => {
  const { app } = testApp({}, { allowedHosts: ["gpu.lan"] });
  const status = async (host: string) => {
    const response = await app.fetch(new Request(`http://${host}/health`));
    const text = await response.text();
    if (response.status === 403) assertStringIncludes(text, "host_not_allowed");
    return response.status;
  };
  for (const host of ["localhost:8080", "127.0.0.1", "[::1]:80", "192.168.1.5", "gpu.lan"]) {
    assertEquals(await status(host), 200, host);
  }
  for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"]) {
    assertEquals(await status(host), 403, host);
  }
});

Deno.test("isLoopback and isIpAddress tell names apart", () => {
  for (const host of ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"]) {
    assertEquals(isLoopback(host), true, host);
  }
  for (const host of ["0.0.0.0", "10.0.0.1", "localhost.example", "::", "128.0.0.1"]) {
    assertEquals(isLoopback(host), false, host);
  }
  assertEquals(isIpAddress("10.1.2.3"), true);
  assertEquals(isIpAddress("[fe80::1]"), true);
  assertEquals(isIpAddress("a.b.c.d"), false);
});

Deno.test("CORS headers are sent only to origins that were asked for", async () => {
  const origin = "https://app.example";
  const plain = await testApp().get("/health", { Origin: origin });
  assertEquals(plain.headers.get("Access-Control-Allow-Origin"), null);
  await plain.body?.cancel();
  const { get } = testApp({}, { corsOrigins: [origin] });
  const allowed = await get("/health", { Origin: origin });
  assertEquals(allowed.headers.get("Access-Control-Allow-Origin"), origin);
  const shown = allowed.headers.get("Access-Control-Expose-Headers") ?? "";
  for (const name of ["X-Request-Id", "Retry-After"]) assertStringIncludes(shown, name);
  await allowed.body?.cancel();
  const other = await get("/health", { Origin: "https://evil.example" });
  assertEquals(other.headers.get("Access-Control-Allow-Origin"), null);
  await other.body?.cancel();
});

Deno.test("CORS preflight passes without a key, so that a page may send one", async () => {
  const { app } = testApp({}, { ...keyed, corsOrigins: ["*"] });
  const response = await app.fetch(
    new Request("http://localhost/v1/chat/completions", {
      method: "OPTIONS",
      headers: {
        Origin: "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
      },
    }),
  );
  assertEquals(response.status, 204);
  assertEquals(response.headers.get("Access-Control-Allow-Origin"), "*");
  assertStringIncludes(response.headers.get("Access-Control-Allow-Headers") ?? "", "authorization");
});
