import { assertEquals, assertLess } from "@std/assert";
import fc from "fast-check";
import { serverSentEvents } from "../../src/client/server_sent_events.ts";

async function read(chunks: Iterable<Uint8Array<ArrayBuffer>>): Promise<string[]> {
  return await Array.fromAsync(serverSentEvents(ReadableStream.from(chunks)));
}

/** `bytes` in pieces of `length`. */
function* cut(bytes: Uint8Array<ArrayBuffer>, length: number): Generator<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

Deno.test("serverSentEvents reads the same however the stream is cut", async () => {
  const text =
    ": ping\n\ndata: é1\n\n\ndata: 2a\ndata: 2b\n\nevent: x\nid: 4\n\ndata:5\n\ndata: unfinished";
  const bytes = new TextEncoder().encode(text);
  const events = ["é1", "2a\n2b", "5"];
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: bytes.length }), async (length) => {
      assertEquals(await read(cut(bytes, length)), events);
    }),
    { numRuns: 40, seed: 3 },
  );
});

Deno.test("serverSentEvents takes time in proportion to an event's length", async () => {
  const time = async (megabytes: number) => {
    const value = "x".repeat(megabytes * 2 ** 20);
    const bytes = new TextEncoder().encode(`data: ${value}\n\n`);
    const start = performance.now();
    const [event] = await read(cut(bytes, 65536));
    assertEquals(event.length, value.length);
    return performance.now() - start;
  };
  await time(4);
  const short = await time(4);
  const long = await time(32);
  // Proportional would be 8 times as long, the square 64 times: 6 s.
  assertLess(long, 16 * short + 1000, `${short} ms, then ${long}`);
});
