import {
  assert,
  assertEquals,
  assertGreater,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { Rng } from "../../src/common/rng.ts";
import { encodeY4mHeader, y4mFrameMark, type Y4mHeader, Y4mReader } from "../../src/formats/y4m.ts";
import { serve } from "../../src/server/serve.ts";
import { videoSurface } from "../../src/server/video_surface.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { needsNative } from "../support/needs_native.ts";
import { testApp } from "../support/test_app.ts";
import { until } from "../support/until.ts";

nativeProblem();

const header: Y4mHeader = {
  width: 16,
  height: 12,
  layout: "420",
  colour: "420mpeg2",
  rate: [30000, 1001],
  interlacing: "p",
  aspect: [1, 1],
  comments: ["A", "B"],
};
const frameSize = 16 * 12 * 3 / 2;

function clip(frames: number, cut = 0): Uint8Array<ArrayBuffer> {
  const rng = new Rng(1);
  const parts = [encodeY4mHeader(header)];
  for (let i = 0; i < frames; i++) {
    parts.push(y4mFrameMark, Uint8Array.from({ length: frameSize }, () => 100 + rng.integer(40)));
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all.slice(0, all.length - cut);
}

const post = (query: string, body: BodyInit) =>
  testApp({}, {}, [videoSurface()]).app.fetch(
    new Request(`http://localhost/v1/videos/upscale${query}`, { method: "POST", body }),
  );

Deno.test("POST /v1/videos/upscale answers a y4m stream of the same frames, enlarged, tags kept", async (t) => {
  if (!needsNative(t)) return;
  const response = await post("?scale=3", clip(5));
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("Content-Type"), "video/x-yuv4mpeg");
  const reader = await Y4mReader.open(response.body!);
  assertEquals(reader.header, { ...header, width: 48, height: 36 });
  let frames = 0;
  for await (const bytes of reader) {
    assertEquals(bytes.length, frameSize * 9);
    frames++;
  }
  assertEquals(frames, 5);
});

Deno.test("POST /v1/videos/upscale answers a body of unsaid length, beyond the limit of others, while it arrives", async (t) => {
  if (!needsNative(t)) return;
  await using server = await serve({
    pool: new FakeEnginePool(),
    port: 0,
    parrotPort: 0,
    maxBodyBytes: 300,
  });
  const all = clip(3);
  const first = all.length - 2 * (frameSize + y4mFrameMark.length);
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
  const sending = writable.getWriter();
  const written = sending.write(all.slice(0, first + frameSize));
  const response = await fetch(`${server.url}/v1/videos/upscale?scale=2`, {
    method: "POST",
    body: readable,
  });
  const reader = await Y4mReader.open(response.body!);
  const frames = reader[Symbol.asyncIterator]();
  // The second frame was sent in part.
  assertEquals((await frames.next()).value?.length, frameSize * 4);
  await written;
  await sending.write(all.slice(first + frameSize));
  await sending.close();
  let more = 0;
  while (!(await frames.next()).done) more++;
  assertEquals(more, 2);
});

Deno.test("POST /v1/videos/upscale cuts the answer after the whole frames of a truncated stream", async (t) => {
  if (!needsNative(t)) return;
  const response = await post("?scale=2&quality=bicubic", clip(4, 100));
  const reader = await Y4mReader.open(response.body!);
  let frames = 0, failed = false;
  try {
    for await (const _ of reader) frames++;
  } catch {
    failed = true;
  }
  assertEquals([frames, failed], [3, true]);
});

Deno.test("POST /v1/videos/upscale cuts the answer with what Deno prints as one line of the log", async (t) => {
  if (!needsNative(t)) return;
  const response = await post("?scale=2", clip(2, 10));
  const error = await assertRejects(() => response.arrayBuffer());
  const printed = Deno.inspect(error);
  assertStringIncludes(printed, "the answer was cut off");
  assertStringIncludes(printed, "body: frame 1 ends after");
  assertEquals(printed.includes("\n"), false);
});

Deno.test("POST /v1/videos/upscale refuses bad parameters and other formats with what it expects", async () => {
  for (
    const [query, body, words] of [
      ["?scale=5", clip(1), "expected 2, 3 or 4"],
      ["?quality=best", clip(1), "expected full, gate, bicubic"],
      ["?budget_ms=0", clip(1), "expected more than 0"],
      ["", "RIFF....AVI ", "YUV4MPEG2"],
      ["", "YUV4MPEG2 W9000 H9000 F25:1\n", "at most"],
    ] as const
  ) {
    const response = await post(query, body);
    assertEquals(response.status, 400, query);
    assertStringIncludes((await response.json()).error.message, words);
  }
});

Deno.test("POST /v1/videos/upscale refuses interlaced frames", async () => {
  for (const interlacing of ["t", "b", "m"]) {
    const response = await post("", encodeY4mHeader({ ...header, interlacing }));
    assertEquals(response.status, 400);
    const { error } = await response.json();
    assertStringIncludes(error.message, `interlacing is ${interlacing}, expected p`);
  }
});

Deno.test("the live socket answers frames in order, refuses wrong ones, drops what is late, and ends with the server", async (t) => {
  if (!needsNative(t)) return;
  await using server = await serve({ port: 0, pool: new FakeEnginePool({}) });
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/videos/live`);
  socket.binaryType = "arraybuffer";
  const texts: Record<string, unknown>[] = [];
  const frames: ArrayBuffer[] = [];
  socket.onmessage = ({ data }) =>
    typeof data === "string" ? texts.push(JSON.parse(data)) : frames.push(data);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  socket.send("nonsense");
  await until(() => texts.length === 1, "an answer to nonsense");
  assertEquals(texts[0].type, "error");
  socket.send(JSON.stringify({ width: 100_000, height: 1 }));
  await until(() => texts.length === 2, "an answer to a frame too long");
  assertStringIncludes(String(texts.splice(1, 1)[0].message), "the size is 100000x1");
  socket.send(JSON.stringify({ width: 16, height: 12, scale: 2 }));
  await until(() => texts.length === 2, "ready", 20_000);
  assertEquals([texts[1].type, texts[1].width, texts[1].height], ["ready", 32, 24]);
  socket.send(new Uint8Array(7));
  await until(() => texts.length === 3, "an answer to a short frame");
  assertStringIncludes(String(texts[2].message), `expected ${frameSize}`);
  for (let i = 0; i < 30; i++) socket.send(new Uint8Array(frameSize).fill(50 + i));
  await until(() => frames.length + texts.length === 33, "30 answers", 20_000);
  const dropped = texts.slice(3);
  assert(dropped.every((text) => text.type === "dropped"), JSON.stringify(dropped));
  assertGreater(dropped.length, 0);
  // A flat frame stays flat, so its value tells its place.
  const values = frames.map((frame) => new Uint8Array(frame)[0]);
  assertEquals(values, [...values].sort((a, b) => a - b));
  assert(frames.every((frame) => frame.byteLength === frameSize * 4));
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
});

Deno.test("GET /v1/videos/live refuses what is no handshake", async () => {
  const { app } = testApp({}, {}, [videoSurface()]);
  const get = (headers: Record<string, string>) =>
    app.fetch(new Request("http://localhost/v1/videos/live", { headers }));
  assertEquals((await get({})).status, 426);
  const good = {
    upgrade: "websocket",
    connection: "keep-alive, Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
  };
  const wrong = [
    [{ "sec-websocket-key": "" }, "Sec-WebSocket-Key is "],
    [{ "sec-websocket-key": "x" }, "Sec-WebSocket-Key is x, expected 16 bytes"],
    [{ "sec-websocket-version": "8" }, "Sec-WebSocket-Version is 8, expected 13"],
    [{ connection: "close" }, "Connection is close, expected Upgrade"],
  ] as const;
  for (const [own, words] of wrong) {
    const response = await get({ ...good, ...own });
    assertEquals(response.status, 400, words);
    assertStringIncludes((await response.json()).error.message, words);
  }
});
