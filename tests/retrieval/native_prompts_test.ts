import { assert, assertEquals } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { goldenPath } from "../support/golden_models.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";
import { RetrievalUnderTest } from "../support/retrieval_under_test.ts";

const gpu = await openTestGpu({ kernels: "lanes" });
const all = { kind: "retrieval", mass: 1 } as const;
const dense = { kind: "dense" } as const;

function tokens(count: number, seed: number): number[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => rng.integer(263));
}

// With floats only prompts' attention is native, so that nothing but the next layer's flushes what retrieval has left; with quantised weights all is, and
// work that would overlap the search must not go past it.
for (
  const [name, overlap] of [["tiny_llama_f16", false], ["tiny_llama_q8_0", true]] as const
) {
  gpuTest(
    `a prompt read natively beside a row that retrieves changes nothing for it: ${name}`,
    async (t) => {
      if (!needsNative(t)) return;
      const under = await ModelUnderTest.open(
        gpu,
        goldenPath(name),
        "f16",
        undefined,
        undefined,
        true,
      );
      await using retrieval = await RetrievalUnderTest.open(under, {
        first: 64,
        last: 64,
        tail: 0,
        idleBytes: 0,
        overlap,
      });
      const prompt = tokens(300, 1);
      const whole = new TestSequence(0, [7, 3, 90, 12, 40, 41]);
      const sparse = new TestSequence(1, [10, 11, 13, 14, 15, 16]);
      const ask = (
        row: ReturnType<TestSequence["decode"]>,
        promptTokens: number,
        decode: typeof all | typeof dense,
      ) => ({ ...row, promptTokens, decode });
      for (const [sequence, decode] of [[whole, dense], [sparse, all]] as const) {
        for (let at = 0; at < 300; at += 100) {
          const row = sequence.prefill(prompt.slice(at, at + 100), at === 200);
          retrieval.step([ask(row, 300, decode)]);
        }
      }
      await retrieval.untilReady(1);
      const alone = new TestSequence(3, [52, 53]);
      const [expected] = retrieval.step([ask(alone.prefill(tokens(20, 9)), 20, dense)]).logits;
      for (let i = 0; i < 6; i++) {
        const rows = [ask(sparse.decode(), 300, all), ask(whole.decode(), 300, dense)];
        const newcomer = new TestSequence(2, [50, 51]);
        if (i % 2 === 1) rows.push(ask(newcomer.prefill(tokens(20, 9)), 20, dense));
        const { logits, tokens: chosen } = retrieval.step(rows);
        assertEquals(chosen[0], chosen[1], `step ${i}`);
        const largest = logits[1].reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const off = logits[0].reduce((most, x, j) => Math.max(most, Math.abs(x - logits[1][j])), 0);
        assert(off < 1e-3 * largest, `step ${i}: ${off} of ${largest}`);
        if (i % 2 === 1) assertEquals(logits[2], expected, `the prompt of step ${i}`);
      }
    },
  );
}
