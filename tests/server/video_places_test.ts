import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { encodeY4mHeader, y4mFrameMark, Y4mReader } from "../../src/formats/y4m.ts";
import { serve, type ServeOptions } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();

const head = encodeY4mHeader({
  width: 16,
  height: 12,
  layout: "420",
  colour: "420mpeg2",
  rate: [25, 1],
  interlacing: "p",
  aspect: [1, 1],
  comments: [],
});
const frame = new Uint8Array(y4mFrameMark.length + 16 * 12 * 3 / 2);
frame.set(y4mFrameMark);

const start = (options: ServeOptions = {}) =>
  serve({ pool: new FakeEnginePool(), port: 0, parrotPort: 0, ...options });

/** A video whose frames come when they are asked for. */
async function video(url: string) {
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
  const sending = writable.getWriter();
  sending.write(head).catch(() => {});
  sending.write(frame).catch(() => {});
  const answer = await fetch(`${url}/v1/videos/upscale?scale=2&quality=bicubic`, {
    method: "POST",
    body: readable,
  });
  return { answer, sending };
}

async function frames(answer: Response): Promise<number> {
  let count = 0;
  for await (const _ of await Y4mReader.open(answer.body!)) count++;
  return count;
}

Deno.test("no more videos than maxVideos are enlarged at a time, streamed or live", async (t) => {
  if (!needsNative(t)) return;
  await using server = await start({ maxVideos: 1 });
  const live = `${server.url.replace("http", "ws")}/v1/videos/live`;
  const first = await video(server.url);
  assertEquals(first.answer.status, 200);
  const second = await video(server.url);
  assertEquals([second.answer.status, second.answer.headers.get("Retry-After")], [429, "5"]);
  assertStringIncludes((await second.answer.json()).error.message, "1 videos are under way");
  const refused = new WebSocket(live);
  await new Promise((resolve) => refused.onerror = resolve);
  await first.sending.close();
  assertEquals(await frames(first.answer), 1);

  const socket = new WebSocket(live);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const third = await video(server.url);
  assertEquals(third.answer.status, 429);
  await third.answer.body?.cancel();
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
  for (let left = 100; left >= 0; left--) {
    const { answer, sending } = await video(server.url);
    if (answer.status === 200) {
      await sending.close();
      assertEquals(await frames(answer), 1);
      break;
    }
    await answer.body?.cancel();
    assert(left > 0, "the live video's place was not given back");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

Deno.test("places of videos that fail or are left are given back", async (t) => {
  if (!needsNative(t)) return;
  await using server = await start({ maxVideos: 1 });
  const address = `${server.url}/v1/videos/upscale?scale=2&quality=bicubic`;
  for (const body of ["", "nonsense", head.slice(0, 20)]) {
    const response = await fetch(address, { method: "POST", body });
    assertEquals(response.status, 400, String(body));
    await response.body?.cancel();
  }
  const { answer, sending } = await video(server.url);
  assertEquals(answer.status, 200);
  await answer.body?.cancel();
  sending.abort().catch(() => {});
  for (let left = 100, status = 429; status === 429; left--) {
    assert(left > 0, "the place was not given back");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const next = await video(server.url);
    status = next.answer.status;
    if (status === 200) await next.sending.close();
    await next.answer.body?.cancel();
  }
});

Deno.test("a video that was idle for long makes way for another, and no other does", async (t) => {
  if (!needsNative(t)) return;
  await using server = await start({ maxVideos: 2, videoIdleMs: 400 });
  const address = `${server.url}/v1/videos/upscale?scale=2&quality=bicubic`;
  // One that has not begun, and one that goes on.
  const silent = fetch(address, { method: "POST", body: new TransformStream().readable });
  const lively = await video(server.url);
  const crowded = await video(server.url);
  assertEquals(crowded.answer.status, 429);
  await crowded.answer.body?.cancel();
  for (let i = 0; i < 8; i++) {
    await new Promise((resolve) => setTimeout(resolve, 75));
    await lively.sending.write(frame);
  }
  const live = new WebSocket(`${server.url.replace("http", "ws")}/v1/videos/live`);
  await new Promise((resolve, reject) => {
    live.onopen = resolve;
    live.onerror = reject;
  });
  const refusal = await silent;
  assertEquals([refusal.status, (await refusal.json()).error.code], [408, "idle"]);

  const closed = new Promise<CloseEvent>((resolve) => live.onclose = resolve);
  for (let i = 0; i < 8; i++) {
    await new Promise((resolve) => setTimeout(resolve, 75));
    await lively.sending.write(frame);
  }
  const last = await video(server.url);
  assertEquals(last.answer.status, 200);
  const { code, reason } = await closed;
  assertEquals(code, 1013);
  assertStringIncludes(reason, "another video");
  await Promise.all([lively.sending.close(), last.sending.close()]);
  assertEquals([await frames(lively.answer), await frames(last.answer)], [17, 1]);
});

Deno.test("a server that stops lets videos end that are under way, and takes no other", async (t) => {
  if (!needsNative(t)) return;
  const server = await start();
  const { answer, sending } = await video(server.url);
  const stopping = server.shutdown(20_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const late = await video(server.url);
  assertEquals(late.answer.status, 503);
  await late.answer.body?.cancel();
  // Longer than what a server waits for last words.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await sending.write(frame);
  await sending.close();
  assertEquals(await frames(answer), 2);
  await stopping;
});

Deno.test("a video that does not end is cut at the deadline of a server that stops", async (t) => {
  if (!needsNative(t)) return;
  const server = await start();
  const { answer, sending } = await video(server.url);
  await server.shutdown(100);
  await assertRejects(() => frames(answer));
  sending.abort().catch(() => {});
});
