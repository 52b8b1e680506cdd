import { assert, assertEquals, assertLess } from "@std/assert";
import { StepPass } from "../../src/gpu/pass.ts";
import { Readback } from "../../src/gpu/readback.ts";
import { ClockKeeper } from "../../src/kernels/clock_keeper.ts";
import { openTestGpu } from "../support/gpu.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const gpu = await openTestGpu();

gpuTest(
  "ClockKeeper records nothing before it has measured, then about as much time as it is told",
  async () => {
    using keeper = await ClockKeeper.open(gpu);
    const before = new StepPass(gpu);
    keeper.record(before, 1);
    assertEquals(before.dispatches, 0);
    keeper.measure();

    const word = gpu.buffers.storage("word", 4);
    const readback = await Readback.open(gpu, 4);
    const took = (milliseconds: number) => {
      const pass = new StepPass(gpu);
      keeper.record(pass, milliseconds);
      readback.record(pass, word, 0, 4);
      const start = performance.now();
      pass.submit();
      readback.read();
      return performance.now() - start;
    };
    // The fastest of a few: others may use the processor, and then it was slow while measured.
    const best = (milliseconds: number) => {
      const times = Array.from({ length: 9 }, () => {
        keeper.measure();
        return took(milliseconds);
      });
      return times.toSorted((a, b) => a - b);
    };
    // Longer than software Vulkan lets a loop go on would not do.
    const long = best(3);
    assert(long[8] > 1.5, `3 ms took ${long}`);
    assertLess(long[0], 4, `3 ms took ${long}`);
    assertLess(best(0)[0], 2);
    // It is one workgroup that takes the time, not the start of many that do nothing: those take a tenth of a microsecond each on software Vulkan.
    let groups = 0;
    const counting = { dispatch: (_: unknown, [x]: readonly number[]) => groups = x };
    keeper.record(counting as unknown as StepPass, 3);
    assert(groups > 0 && groups < 8000, `${groups} workgroups for 3 ms`);
    readback.dispose();
    gpu.buffers.destroy(word);
  },
);
