import { assertAlmostEquals, assertEquals } from "@std/assert";
import type { StepPass } from "../../src/gpu/pass.ts";
import { BusyGpu } from "../../src/retrieval/busy_gpu.ts";

/** A clock keeper that takes down what it is asked for. */
function recorder() {
  const asked: number[] = [];
  let measured = 0;
  const clock = {
    record: (_: StepPass, milliseconds: number) => void asked.push(milliseconds),
    measure: () => void measured++,
    [Symbol.dispose]() {},
  };
  const pass = {} as StepPass;
  const busy = new BusyGpu(clock);
  const last = (layer: number, keys: number) => {
    const before = asked.length;
    busy.record(pass, layer, keys);
    return asked.slice(before)[0] ?? 0;
  };
  return { busy, last, times: () => measured };
}

Deno.test("BusyGpu goes by the faster of a layer's last two searches, by keys, and never by much", () => {
  const { busy, last } = recorder();
  busy.begin(0, 0);
  assertEquals(last(3, 1000), 0);
  busy.note(3, 1000, 2, 1);
  assertEquals(last(3, 1000), 0, "one search may have been an exception");
  busy.note(3, 1000, 1, 2);
  assertAlmostEquals(last(3, 1000), 0.75);
  assertAlmostEquals(last(3, 500), 0.375);
  assertEquals(last(2, 1000), 0);
  // One hiccup counts for nothing; of two in a row no more than 5 ms are believed.
  busy.note(3, 1000, 200, 3);
  assertAlmostEquals(last(3, 1000), 0.75);
  busy.note(3, 1000, 200, 4);
  assertEquals(last(3, 1000), 3.75);
});

Deno.test("BusyGpu measures the clock every eighth step and after a pause, in the first layer, and then trusts no earlier search", () => {
  const { busy, last, times } = recorder();
  let now = 1000;
  const measures = (step: number) => {
    busy.begin(step, now);
    const before = times();
    for (const layer of [0, 1]) {
      busy.measure(layer);
      busy.note(layer, 10, 1, now += 2);
    }
    return times() - before;
  };
  assertEquals([1, 2, 7, 8, 9].map(measures), [1, 0, 0, 1, 0]);
  assertAlmostEquals(last(0, 10), 0.75);
  now += 99;
  assertEquals(measures(10), 0);
  now += 101;
  busy.begin(11, now);
  assertEquals(last(0, 10), 0);
  assertEquals(measures(11), 1);
});
