import { assert } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { serve } from "../../src/server/serve.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();
const text = new TextEncoder();

/** A live socket whose client sees no byte that it does not ask for, as no library's would. */
class SlowClient {
  readonly #connection: Deno.Conn;
  #closed = false;

  private constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<SlowClient> {
    const client = new SlowClient(await Deno.connect({ hostname: "127.0.0.1", port }));
    await client.write(text.encode(
      "GET /v1/videos/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ));
    await client.take();
    return client;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Whatever has come by now, or comes first. */
  async take(): Promise<void> {
    await this.#connection.read(new Uint8Array(4096));
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
  }

  /** Bytes until the server closes the connection, or sends none for a while. */
  async rest(): Promise<number> {
    let bytes = 0;
    const part = new Uint8Array(1 << 20);
    const end = setTimeout(() => this.#close(), 3000);
    try {
      for (let n = await this.#connection.read(part); n !== null;) {
        bytes += n;
        n = await this.#connection.read(part);
      }
    } catch (error) {
      const closed = error instanceof Deno.errors.Interrupted ||
        error instanceof Deno.errors.BadResource || error instanceof Deno.errors.ConnectionReset;
      if (!closed) throw error;
    }
    clearTimeout(end);
    this.#close();
    return bytes;
  }
}

/** A message of a client, under a mask of zeros. */
function message(opcode: number, data: Uint8Array): Uint8Array {
  const all = new Uint8Array(14 + data.length);
  all.set([0x80 | opcode, 0x80 | 127]);
  new DataView(all.buffer).setBigUint64(2, BigInt(data.length));
  all.set(data, 14);
  return all;
}

Deno.test("the live socket drops frames of a client that does not take its answers", async (t) => {
  if (!needsNative(t)) return;
  await using server = await serve({ pool: new FakeEnginePool(), port: 0, parrotPort: 0 });
  const client = await SlowClient.open(server.port);
  const [width, height, scale] = [640, 360, 4];
  const asked = JSON.stringify({ width, height, scale, quality: "bicubic" });
  await client.write(message(1, text.encode(asked)));
  await client.take();
  const bytes = width * height * 3 / 2, frames = 16;
  const frame = message(2, new Uint8Array(bytes).fill(100));
  for (let i = 0; i < frames; i++) {
    await client.write(frame);
    // Long enough for the answer to be made.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // What the system's own buffers take is not the server's to know.
  const answers = Math.round(await client.rest() / (bytes * scale ** 2));
  assert(answers >= 2 && answers <= frames - 4, `${answers} answers to ${frames} frames`);
});

Deno.test("the live socket is closed to a client that reads no word of what is wrong", async () => {
  await using server = await serve({ pool: new FakeEnginePool(), port: 0, parrotPort: 0 });
  const client = await SlowClient.open(server.port);
  const wrong = new Uint8Array(1000 * 15);
  for (let i = 0; i < 1000; i++) wrong.set(message(2, Uint8Array.of(1)), 15 * i);
  let batches = 0;
  try {
    for (; batches < 400; batches++) await client.write(wrong);
  } catch (error) {
    const closed = error instanceof Deno.errors.BrokenPipe ||
      error instanceof Deno.errors.ConnectionReset;
    assert(closed, String(error));
  }
  // 400,000 answers of some seventy bytes would be 28 million; the system holds a few million for us.
  const bytes = await client.rest();
  assert(bytes < 15e6, `${batches} batches, ${bytes} bytes`);
});

Deno.test("the live socket is closed to a client that starts anew without end", async () => {
  await using server = await serve({ pool: new FakeEnginePool(), port: 0, parrotPort: 0 });
  const client = await SlowClient.open(server.port);
  const start = message(1, text.encode(JSON.stringify({ width: 0 })));
  const many = new Uint8Array(start.length * 100);
  for (let i = 0; i < 100; i++) many.set(start, start.length * i);
  await client.write(many);
  const begin = performance.now();
  await client.rest();
  assert(performance.now() - begin < 2500, "the server left it open");
});
