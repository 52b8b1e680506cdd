import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceLostError, OutOfMemoryError } from "../../src/common/errors.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { readBuffer } from "../../src/gpu/read_buffer.ts";
import { GpuTimer } from "../../src/gpu/timing.ts";
import { addKernel } from "../support/add_kernel.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu({ timing: true });

gpuTest("Gpu.open takes the adapter's limits, so that large buffers can be bound", async () => {
  const adapter = (await navigator.gpu.requestAdapter())!;
  for (
    const name of [
      "maxBufferSize",
      "maxStorageBufferBindingSize",
      "maxStorageBuffersPerShaderStage",
    ] as const
  ) {
    assertEquals(gpu.device.limits[name], adapter.limits[name], name);
  }
  assert(/[a-z]/i.test(gpu.description), gpu.description);
});

gpuTest("Gpu.check reports a lost device, and dispose is none", async () => {
  using lost = await Gpu.open();
  lost.check();
  lost.device.destroy();
  const error = await lost.lost;
  assert(error instanceof DeviceLostError);
  assertThrows(() => lost.check(), DeviceLostError, "GPU device was lost");
  const closed = await Gpu.open();
  closed.dispose();
  closed.dispose();
  await closed.device.lost;
  closed.check();
});

gpuTest("Gpu.check reports a command that was invalid", async () => {
  using faulty = await Gpu.open();
  const small = faulty.buffers.storage("small", 16);
  const pass = new StepPass(faulty);
  pass.copy(small, 0, small, 0, 16);
  pass.submit();
  await faulty.device.queue.onSubmittedWorkDone();
  assertThrows(() => faulty.check(), Error, "GPU validation failed: Source and destination");
});

gpuTest(
  "StepPass runs dispatches and copies in the order recorded, and leaves empty grids out",
  async () => {
    const words = gpu.buffers.upload("words", new Uint32Array(16));
    const early = gpu.buffers.storage("early", 64);
    const [one, ten] = [await addKernel(gpu, words, 1), await addKernel(gpu, words, 10)];
    const pass = new StepPass(gpu);
    pass.dispatch(one, [2]);
    pass.dispatch(one, [1]);
    pass.copy(words, 0, early, 0, 64);
    pass.dispatch(ten, [0]);
    pass.dispatch(ten, [2, 0]);
    pass.dispatch(ten, [2, 1, 1]);
    assertEquals(pass.dispatches, 3);
    pass.submit();
    const read = async (buffer: GPUBuffer) => [...new Uint32Array(await readBuffer(gpu, buffer))];
    assertEquals(await read(early), [...Array(8).fill(2), ...Array(8).fill(1)]);
    assertEquals(await read(words), [...Array(8).fill(12), ...Array(8).fill(11)]);
  },
);

gpuTest("readBuffer reads a part, and frees its staging buffer even when it fails", async () => {
  const words = gpu.buffers.upload("words", Uint32Array.of(1, 2, 3, 4));
  const before = gpu.buffers.count;
  assertEquals([...new Uint32Array(await readBuffer(gpu, words, 4, 8))], [2, 3]);
  assertEquals(gpu.buffers.count, before);
  await assertRejects(() => readBuffer(gpu, words, 32));
  assertEquals(gpu.buffers.count, before);
});

gpuTest("GpuTimer sums times by label, and starts afresh after take", async () => {
  if (!gpu.device.features.has("timestamp-query")) {
    console.log("skipped: the adapter has no timestamp-query");
    return;
  }
  const words = gpu.buffers.upload("words", new Uint32Array(1 << 16));
  const call = await addKernel(gpu, words, 1);
  const timer = new GpuTimer(gpu, 4);
  const other = { ...call, label: "other" };
  for (let round = 0; round < 2; round++) {
    const pass = new StepPass(gpu, timer);
    pass.dispatch(call, [1 << 13]);
    pass.dispatch(other, [1]);
    pass.dispatch(call, [1 << 13]);
    pass.submit();
    const times = await timer.take();
    assertEquals(times.map(({ label, calls }) => [label, calls]), [["add.add", 2], ["other", 1]]);
    assert(times.every(({ us }) => us >= 0 && us < 1e7), JSON.stringify(times));
    assert(times[0].us > times[1].us);
  }
  assertEquals(await timer.take(), []);
  assertEquals(new Uint32Array(await readBuffer(gpu, words, 0, 4))[0], 6);
  const pass = new StepPass(gpu, timer);
  for (let i = 0; i < 4; i++) pass.dispatch(call, [1]);
  assertThrows(() => pass.dispatch(call, [1]), RangeError, "more than 4 dispatches in a step");
  timer.dispose();
});

gpuTest("GpuTimer is refused by a device opened without timing", async () => {
  using plain = await Gpu.open();
  assertEquals(plain.device.features.has("timestamp-query"), false);
  assertThrows(() => new GpuTimer(plain), TypeError, "opened without timing");
});

gpuTest("Gpu.check says what to give less memory when an allocation failed", async () => {
  using gpu = await openTestGpu();
  gpu.check();
  const error = new GPUOutOfMemoryError("Not enough memory left.");
  gpu.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  assertThrows(
    () => gpu.check(),
    OutOfMemoryError,
    "Not enough memory left.; less memory for keys",
  );
});
