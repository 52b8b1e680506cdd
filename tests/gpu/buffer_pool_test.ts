import { assertEquals, assertThrows } from "@std/assert";
import { OutOfMemoryError } from "../../src/common/errors.ts";
import { BufferPool } from "../../src/gpu/buffer_pool.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();

gpuTest("BufferPool counts what is alive, in steps of 16 bytes", async () => {
  const pool = new BufferPool(gpu.device, 1 << 20);
  const empty = pool.storage("empty", 0);
  const odd = pool.storage("odd", 17);
  const uniform = pool.uniform("uniform", 16);
  assertEquals([empty.size, odd.size, uniform.size], [16, 32, 16]);
  assertEquals([pool.bytes, pool.count], [64, 3]);
  pool.destroy(odd);
  pool.destroy(odd);
  assertEquals([pool.bytes, pool.count], [32, 2]);
  // A buffer of another pool is not this one's to destroy.
  const foreign = gpu.buffers.upload("foreign", Uint32Array.of(7));
  pool.destroy(foreign);
  assertEquals(new Uint32Array(await readBuffer(gpu, foreign))[0], 7);
  pool.destroyAll();
  assertEquals([pool.bytes, pool.count], [0, 0]);
});

gpuTest("BufferPool refuses to pass its cap, and goes on once something is freed", async () => {
  await Promise.resolve();
  const pool = new BufferPool(gpu.device, 1024);
  const first = pool.storage("first", 600);
  assertThrows(
    () => pool.storage("second", 500),
    OutOfMemoryError,
    "allocate GPU buffer second: 512 bytes beside the 608 in use would pass the cap of 1024",
  );
  assertEquals([pool.bytes, pool.count], [608, 1]);
  pool.destroy(first);
  pool.storage("second", 1024);
  pool.destroyAll();
});

gpuTest(
  "BufferPool refuses buffers that the device cannot bind, and sizes that are no size",
  async () => {
    await Promise.resolve();
    const pool = new BufferPool(gpu.device, Infinity);
    const largest = Math.min(
      gpu.device.limits.maxStorageBufferBindingSize,
      gpu.device.limits.maxBufferSize,
    );
    assertThrows(
      () => pool.storage("huge", largest + 16),
      OutOfMemoryError,
      `this device binds at most ${largest}`,
    );
    assertThrows(() => pool.storage("nothing", NaN), OutOfMemoryError, "nothing: NaN bytes");
    assertEquals(pool.bytes, 0);
  },
);

gpuTest("BufferPool's storage starts as zeros, and write pads a tail to a word", async () => {
  const buffer = gpu.buffers.storage("bytes", 16);
  assertEquals(new Uint8Array(await readBuffer(gpu, buffer)), new Uint8Array(16));
  gpu.buffers.write(buffer, 0, new Uint8Array(16).fill(9));
  // A view into a larger array, of 6 bytes, at an odd offset.
  const source = Uint8Array.from({ length: 20 }, (_, i) => 100 + i);
  gpu.buffers.write(buffer, 4, source.subarray(3, 9));
  assertEquals(
    [...new Uint8Array(await readBuffer(gpu, buffer))],
    [9, 9, 9, 9, 103, 104, 105, 106, 107, 108, 0, 0, 9, 9, 9, 9],
  );
  gpu.buffers.write(buffer, 0, new Uint8Array(0));
  assertEquals(new Uint8Array(await readBuffer(gpu, buffer, 12, 4)), new Uint8Array(4).fill(9));
});

Deno.test("BufferPool.write writes all of data of 2 GiB and more", () => {
  const written: number[] = [];
  const queue = { writeBuffer: (...args: unknown[]) => written.push(args[4] as number) };
  const pool = new BufferPool({ queue, limits: {} } as unknown as GPUDevice, 2 ** 40);
  const data = { buffer: new ArrayBuffer(0), byteOffset: 0, byteLength: 2 ** 31 };
  pool.write({} as GPUBuffer, 0, data);
  assertEquals(written, [2 ** 31]);
});
