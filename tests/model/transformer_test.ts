import { assert, assertEquals, assertThrows } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { Gpu, type KernelFamily } from "../../src/gpu/gpu.ts";
import { assertClose, assertSameBits } from "../support/compare.ts";
import {
  goldenGreedy,
  goldenLogits,
  type GoldenModel,
  goldenModels,
  goldenPath,
  goldenPromptOf,
} from "../support/golden_models.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";

const families = ["lanes", "wide"] as const;
const gpus = {
  lanes: await openTestGpu({ kernels: "lanes" }),
  wide: await openTestGpu({ kernels: "wide" }),
};
const opened = new Map<string, Promise<ModelUnderTest>>();

/** The model, opened once for all tests of this file. */
function model(
  family: KernelFamily,
  name: GoldenModel,
  kvType: "f16" | "f32",
): Promise<ModelUnderTest> {
  const key = `${family} ${name} ${kvType}`;
  // Of the two sets of divisors that phi3 has, the short ones are for contexts up to the original one.
  const context = name.includes("short") ? 128 : 512;
  const open = () => ModelUnderTest.open(gpus[family], goldenPath(name), kvType, context);
  if (!opened.has(key)) opened.set(key, open());
  return opened.get(key)!;
}

/** `count` tokens of no meaning. */
function tokens(count: number, seed: number): number[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, () => rng.integer(263));
}

/** Logits after every token of `prompt`, given in chunks of at most `chunk`, on pages of the test's choosing. */
function allLogits(
  under: ModelUnderTest,
  prompt: number[],
  { chunk = 64, pages = [0, 1, 2, 3, 4, 5, 6, 7] } = {},
): Float32Array[] {
  const sequence = new TestSequence(0, pages);
  const logits: Float32Array[] = [];
  for (let at = 0; at < prompt.length; at += chunk) {
    const row = sequence.prefill(prompt.slice(at, at + chunk));
    logits.push(...under.step([row], { everyRow: true }).logits);
  }
  return logits;
}

for (const name of goldenModels) {
  // The golden logits of every weight type are computed on the weights as stored, so one bound serves all.
  for (
    const [family, kvType, bound] of [
      ["lanes", "f32", 1e-4],
      ["lanes", "f16", 2e-3],
      ["wide", "f32", 1e-4],
      ["wide", "f16", 2e-3],
    ] as const
  ) {
    const what = `${family} kernels, ${kvType} keys and values`;
    gpuTest(`Transformer gives ${name} its golden logits: ${what}`, async () => {
      const under = await model(family, name, kvType);
      const logits = allLogits(under, [...goldenPromptOf(name)]);
      const expected = goldenLogits(name);
      assertClose(logits.flatMap((row) => [...row]), expected, bound, name);
      logits.forEach((row, position) => {
        const wanted = expected.subarray(position * row.length, (position + 1) * row.length);
        assertClose(row, wanted, 2 * bound, `${name}, position ${position}`);
      });
    });
  }

  gpuTest(`Transformer decodes the golden greedy continuation of ${name}`, async () => {
    for (const family of families) {
      const under = await model(family, name, "f32");
      const sequence = new TestSequence(3, [9, 4, 11, 2]);
      const found = under.step([sequence.prefill(goldenPromptOf(name))]).tokens;
      while (found.length < goldenGreedy(name).length) {
        found.push(...under.step([sequence.decode()]).tokens);
      }
      assertEquals(found, goldenGreedy(name), family);
    }
  });
}

for (const family of families) {
  gpuTest(
    `Transformer's prefill gives the same bits in chunks of any size, on any pages: ${family} kernels`,
    async () => {
      for (const name of ["tiny_llama_f32", "tiny_arcee_q8_0", "tiny_qwen3_q8_0"] as const) {
        const under = await model(family, name, "f16");
        const prompt = tokens(150, 1);
        const whole = allLogits(under, prompt, { chunk: 64 });
        // A step costs the wide kernels as much for one row as for 128.
        for (const chunk of family === "wide" ? [8, 33] : [1, 7, 8, 9, 33, 60]) {
          const pages = [[5, 1, 90], [95, 94, 93], [2, 0, 1]][chunk % 3];
          // Nothing but what is written may be read: elsewhere the pages hold large numbers.
          under.fillPages(pages, 0x7b);
          const found = allLogits(under, prompt, { chunk, pages });
          found.forEach((row, i) =>
            assertEquals(row, whole[i], `${name}, chunk ${chunk}, row ${i}`)
          );
        }
        await under.settle();
      }
    },
  );

  for (const name of ["tiny_arcee_q8_0", "tiny_qwen2_q8_0", "tiny_qwen3_q8_0"] as const) {
    const what = `${name}, ${family} kernels`;

    gpuTest(
      `Transformer's decode agrees with a prefill of the same tokens: ${what}`,
      async () => {
        const under = await model(family, name, "f16");
        const prompt = tokens(60, 2);
        const sequence = new TestSequence(1, [20, 21]);
        let { tokens: [token], logits } = under.step([sequence.prefill(prompt)]);
        const steps = [logits[0]];
        // Across the edge from the first page to the second.
        for (let i = 0; i < 10; i++) {
          prompt.push(token);
          ({ tokens: [token], logits } = under.step([sequence.decode()]));
          steps.push(logits[0]);
        }
        const all = allLogits(under, prompt);
        steps.forEach((row, i) => {
          // On a real GPU decode has kernels of its own, which add up in another order.
          if (family === "wide") assertClose(row, all[59 + i], 2e-3, `after ${60 + i} tokens`);
          else assertSameBits(row, all[59 + i], `after ${60 + i} tokens`);
        });
      },
    );

    gpuTest(
      `Transformer gives a row the same bits alone and in a batch of any size: ${what}`,
      async () => {
        const under = await model(family, name, "f16");
        const prompt = tokens(40, 3);
        const alone = new TestSequence(0, [0]);
        const first = under.step([alone.prefill(prompt)]);
        const second = under.step([alone.decode()]);
        const third = under.step([alone.decode()]);
        const chunk = tokens(19, 4);
        const other = under.step([new TestSequence(1, [1]).prefill(chunk)]);

        for (const size of family === "wide" ? [2, 9, 70] : [2, 3, 5, 9, 17, 33, 70]) {
          const rng = new Rng(size);
          const place = (slot: number) => new TestSequence(slot, [10 + slot]);
          // Slot 7 is the sequence to watch; its neighbours are at other positions and hold other tokens.
          const watched = place(7);
          const slots = Array.from({ length: size - 1 }, (_, i) => i < 7 ? i : i + 1);
          const neighbours = slots.map((slot) => {
            const sequence = place(slot);
            under.step([sequence.prefill(tokens(1 + rng.integer(60), 50 + slot))]);
            return sequence;
          });
          // A step that prefills one sequence and decodes the others.
          const mixed = under.step([...neighbours.map((n) => n.decode()), watched.prefill(prompt)]);
          assertSameBits(mixed.logits.at(-1)!, first.logits[0], `prefill beside ${size - 1}`);
          assertEquals(mixed.tokens.at(-1), first.tokens[0]);
          // A step that only decodes.
          const only = under.step([watched.decode(), ...neighbours.map((n) => n.decode())]);
          assertSameBits(only.logits[0], second.logits[0], `decode in ${size}`);
          // A step that decodes beside another's prefill.
          const late = new TestSequence(75, [90]);
          const beside = under.step([
            ...neighbours.slice(1).map((n) => n.decode()),
            late.prefill(chunk),
            watched.decode(),
          ]);
          assertSameBits(
            beside.logits.at(-1)!,
            third.logits[0],
            `decode in ${size}, beside a prefill`,
          );
          assertSameBits(
            beside.logits.at(-2)!,
            other.logits[0],
            `prefill beside ${size - 1} decodes`,
          );
        }
      },
    );
  }
}

for (const name of ["tiny_arcee_q8_0", "tiny_qwen3_q8_0", "tiny_gemma3_q8_0"] as const) {
  gpuTest(
    `Transformer gives a row the same bits alone and among rows that share its prefix: ${name}`,
    async () => {
      const under = await model("lanes", name, "f16");
      // As on two processors: with many, sharing would not pay here and there would be nothing to see.
      under.transformer.sharedTiles.parallel = 2;
      // Two prefixes of 6 pages, 24 rows on each, and as many that share nothing.
      const fork = (slot: number): TestSequence => {
        const prefix = slot % 3;
        const pages = Array.from({ length: 6 }, (_, i) => prefix * 6 + i);
        const sequence = new TestSequence(slot, prefix < 2 ? [...pages, 12 + slot] : [12 + slot]);
        sequence.position = prefix < 2 ? 384 : 0;
        under.step([sequence.prefill(tokens(1 + slot % 50, slot), true)]);
        return sequence;
      };
      for (const prefix of [0, 1]) {
        const whole = new TestSequence(0, Array.from({ length: 6 }, (_, i) => prefix * 6 + i));
        for (let chunk = 0; chunk < 2; chunk++) {
          under.step([whole.prefill(tokens(192, 90 + 2 * prefix + chunk), false)]);
        }
      }
      const slots = Array.from({ length: 72 }, (_, slot) => slot);
      const alone = slots.map((slot) => {
        const sequence = fork(slot);
        return [0, 1, 2].map(() => under.step([sequence.decode()]));
      });
      const chunk = tokens(19, 99);
      const prefill = under.step([new TestSequence(79, [95]).prefill(chunk)]);
      assert(alone.flat().every((step) => step.sharedBlocks === 0));
      const together = slots.map(fork);
      for (const step of [0, 1, 2]) {
        // The last one beside a prompt, which goes before the decoding rows.
        const late = step === 2 ? [new TestSequence(79, [95]).prefill(chunk)] : [];
        const found = under.step([...together.map((sequence) => sequence.decode()), ...late]);
        if (step === 2) assertSameBits(found.logits.at(-1)!, prefill.logits[0], "the prompt");
        assert(found.sharedBlocks >= 4, `${found.sharedBlocks} blocks are shared`);
        for (const slot of slots) {
          assertSameBits(
            found.logits[slot],
            alone[slot][step].logits[0],
            `row ${slot}, step ${step}`,
          );
          assertEquals(found.tokens[slot], alone[slot][step].tokens[0]);
        }
      }
    },
  );
}

gpuTest(
  "Transformer continues on a copied page as on the page itself, and leaves that alone",
  async () => {
    const under = await model("lanes", "tiny_arcee_q8_0", "f16");
    const shared = tokens(30, 5);
    const [left, right] = [tokens(12, 6), tokens(12, 7)];
    const expected = [left, right].map((end) => allLogits(under, [...shared, ...end]).slice(30));

    const original = new TestSequence(0, [40]);
    under.step([original.prefill(shared, false)]);
    // The copy writes right behind the shared tokens while the original goes on in the same step.
    const copy = new TestSequence(1, [41]);
    copy.position = 30;
    under.fillPages([41], 0x7b);
    const { logits } = under.step([original.prefill(left), copy.prefill(right)], {
      copies: [{ from: 40, to: 41, tokens: 30 }],
      everyRow: true,
    });
    assertEquals(logits.slice(0, 12), expected[0]);
    assertEquals(logits.slice(12), expected[1]);
    const next = under.step([original.prefill([1]), copy.prefill([1])], { everyRow: true }).logits;
    assertEquals(next[0], allLogits(under, [...shared, ...left, 1]).at(-1));
    assertEquals(next[1], allLogits(under, [...shared, ...right, 1]).at(-1));
  },
);

gpuTest("packStep refuses steps over the sizes of the model", async () => {
  const under = await model("lanes", "tiny_arcee_q8_0", "f16");
  const sequence = (slot: number) => new TestSequence(slot, [0, 1, 2, 3, 4, 5, 6, 7]);
  assertThrows(
    () => under.step([sequence(0).prefill(tokens(257, 8))]),
    RangeError,
    "257 tokens, at most 256 fit",
  );
  const many = Array.from({ length: 81 }, (_, slot) => sequence(slot).prefill([1]));
  assertThrows(() => under.step(many), RangeError, "81 sampled rows, at most 80 fit");
  const tables = Array.from({ length: 100 }, (_, slot) => ({
    ...sequence(slot).prefill([1], false),
    pages: Array.from({ length: 8 }, () => 0),
  }));
  assertThrows(() => under.step(tables), RangeError, "800 page entries, at most 640 fit");
});

gpuTest("GpuStepRunner scores tokens by the log-softmax of their logits", async (t) => {
  const prompt = tokens(90, 9);
  const under = await model("lanes", "tiny_arcee_q8_0", "f16");
  const expected = allLogits(under, prompt).slice(0, -1).map((logits, i) => {
    const top = logits.reduce((a, b) => Math.max(a, b));
    const sum = logits.reduce((total, x) => total + Math.exp(x - top), 0);
    return logits[prompt[i + 1]] - top - Math.log(sum);
  });
  for (
    const [kernels, nativeLayers, most] of [
      ["lanes", false, 1e-6],
      // Rows are rounded to 15 bits.
      ["lanes", true, 5e-4],
      ["wide", false, 1e-4],
    ] as const
  ) {
    if (nativeLayers && !needsNative(t)) continue;
    // A batch smaller than the text and fewer sampled rows than that, so that it is scored in parts of parts.
    const sizes = {
      contextLength: 128,
      maxSequences: 33,
      maxBatchTokens: 64,
      nativeLayers,
      activations: "f32",
    } as const;
    await using runner = await GpuStepRunner.open(
      goldenPath("tiny_arcee_q8_0"),
      sizes,
      await Gpu.open({ kernels }),
    );
    const scores = runner.score(Uint32Array.from(prompt));
    assertEquals(scores.length, 89);
    assertClose(scores, expected, most);
    assert(scores.every((score) => score < 0));
    assertThrows(
      () => runner.score(new Uint32Array(129)),
      RangeError,
      "129 tokens, the context holds 128",
    );
  }
});
