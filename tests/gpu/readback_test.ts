import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceLostError } from "../../src/common/errors.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import { addKernel } from "../support/add_kernel.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();

/** Records one more addition of `amount` to `words`, and its readback. */
function recordAdd(
  readback: Readback,
  call: Awaited<ReturnType<typeof addKernel>>,
  words: GPUBuffer,
): void {
  const pass = new StepPass(gpu);
  pass.dispatch(call, [words.size / 32]);
  readback.record(pass, words, 0, words.size);
  pass.submit();
}

gpuTest("Readback gives the right bytes 10,000 times, pipelined by its depth", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.from({ length: 64 }, (_, i) => i << 20));
  const call = await addKernel(gpu, words, 3);
  const readback = await Readback.open(gpu, words.size, 2);
  recordAdd(readback, call, words);
  for (let i = 1; i <= 10_000; i++) {
    if (i < 10_000) recordAdd(readback, call, words);
    const found = new Uint32Array(readback.read());
    // Mappings settle late, and only when the event loop turns.
    if (i % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 15));
    for (let w = 0; w < 64; w++) {
      if (found[w] !== (w << 20) + 3 * i) {
        throw new Error(`read ${i}, word ${w}: ${found[w]}, expected ${(w << 20) + 3 * i}`);
      }
    }
  }
  readback.dispose();
});

gpuTest("Readback gives copies, parts of a buffer, and the same by readAwaited", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.of(1, 2, 3, 4));
  const readback = await Readback.open(gpu, 64, 3);
  const record = (offset: number, bytes: number) => {
    const pass = new StepPass(gpu);
    readback.record(pass, words, offset, bytes);
    pass.submit();
  };
  record(4, 8);
  record(0, 16);
  record(12, 4);
  const first = new Uint32Array(readback.read());
  assertEquals([...new Uint32Array(await readback.readAwaited())], [1, 2, 3, 4]);
  assertEquals([...new Uint32Array(readback.read())], [4]);
  record(8, 4);
  assertEquals([...new Uint32Array(await readback.readAwaited())], [3]);
  assertEquals([...first], [2, 3]);
  readback.dispose();
});

gpuTest("Readback gathers rows in the order asked for, once each time", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.from({ length: 64 }, (_, i) => i));
  const readback = await Readback.open(gpu, words.size);
  for (const rows of [[0], [15], [2, 3, 4, 9, 10], [7, 6, 6, 7, 8], []]) {
    const pass = new StepPass(gpu);
    readback.gather(pass, words, rows, 16);
    pass.submit();
    const expected = rows.flatMap((row) => [0, 1, 2, 3].map((i) => 4 * row + i));
    assertEquals([...new Uint32Array(readback.read())], expected);
  }
  readback.dispose();
  gpu.buffers.destroy(words);
});

gpuTest("Readback refuses more reads than its depth, and a read of nothing", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.of(1, 2, 3, 4));
  const before = gpu.buffers.count;
  const readback = await Readback.open(gpu, 16, 2);
  assertThrows(() => readback.read(), Error, "no read was recorded");
  await assertRejects(() => readback.readAwaited(), Error, "no read was recorded");
  const pass = new StepPass(gpu);
  readback.record(pass, words, 0, 16);
  readback.record(pass, words, 0, 16);
  assertThrows(
    () => readback.record(pass, words, 0, 16),
    RangeError,
    "2 reads are recorded and none taken, the depth is 2",
  );
  pass.submit();
  assertEquals(readback.read(), readback.read());
  readback.dispose();
  assertEquals(gpu.buffers.count, before);
});

gpuTest("Readback falls back to waiting where mapAsync does not map at once", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.of(5, 6, 7, 8));
  const readback = await Readback.open(gpu, 16);
  const pass = new StepPass(gpu);
  readback.record(pass, words, 0, 16);
  pass.submit();
  // As a Deno that does not poll would do: the range is there only once the promise has settled.
  const { getMappedRange, mapAsync } = GPUBuffer.prototype;
  let settled = false;
  GPUBuffer.prototype.mapAsync = async function (this: GPUBuffer, ...args) {
    await mapAsync.apply(this, args);
    settled = true;
  };
  GPUBuffer.prototype.getMappedRange = function (this: GPUBuffer, ...args) {
    if (!settled) throw new DOMException("buffer is not mapped", "OperationError");
    return getMappedRange.apply(this, args);
  };
  try {
    assertThrows(() => readback.read(), Error, "use readAwaited on this Deno version");
    assertEquals([...new Uint32Array(await readback.readAwaited())], [5, 6, 7, 8]);
  } finally {
    Object.assign(GPUBuffer.prototype, { getMappedRange, mapAsync });
  }
  readback.dispose();
});

gpuTest("Readback reports a lost device as such", async () => {
  const lost = await Gpu.open();
  const words = lost.buffers.upload("words", Uint32Array.of(1, 2, 3, 4));
  const readback = await Readback.open(lost, 16);
  const pass = new StepPass(lost);
  readback.record(pass, words, 0, 16);
  pass.submit();
  lost.device.destroy();
  assert(await lost.lost instanceof DeviceLostError);
  assertThrows(() => readback.read(), DeviceLostError, "GPU device was lost");
  readback.dispose();
  lost.dispose();
});
