import { assert, assertEquals, assertRejects } from "@std/assert";
import { TextEngine } from "../../src/engine/text_engine.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const model = new URL("../golden/models/tiny_llama_q8_0.gguf", import.meta.url);
const prompt = "Once upon a time";
const asked = [
  {},
  { presencePenalty: 1000 },
  { frequencyPenalty: 0.4, temperature: 0.9, seed: 5 },
  { presencePenalty: -1, logitBias: { 40: 3, 41: -100 } },
];
/** One engine for tests that are content with two slots; opened on first use. */
let opened: Promise<TextEngine> | undefined;
const shared = () => opened ??= TextEngine.open({ model, isolate: "own", maxSequences: 2 });
const plain = { maxTokens: 70, ignoreEos: true };

gpuTest(
  "penalties and biases change a text, in a batch as alone, and leave others' texts alone",
  async () => {
    const engine = await shared();
    const alone: string[] = [];
    // One after the other, twice: slots are taken again.
    for (const own of [...asked, ...asked]) {
      alone.push((await engine.complete(prompt, { ...plain, ...own })).text);
    }
    assertEquals(alone.slice(4), alone.slice(0, 4));
    assertEquals(new Set(alone).size, 4);
    const batched = await Promise.all(
      asked.map((own) => engine.complete(prompt, { ...plain, ...own })),
    );
    assertEquals(batched.map(({ text }) => text), alone.slice(0, 4));
    const [free, distinct] = batched.map(({ ids }) => new Set(ids).size);
    assert(free < 70, "greedy text says something twice");
    assertEquals(distinct, 70, "different tokens where a second time costs 1000");
  },
);

gpuTest(
  "a bias of -100 keeps a token out, and one of +100 is the only token until its penalty takes it away",
  async () => {
    const engine = await shared();
    const [first] = (await engine.complete(prompt, plain)).ids;
    const without = await engine.complete(prompt, { ...plain, logitBias: { [first]: -100 } });
    assert(!without.ids.includes(first));
    const forced = await engine.complete(prompt, {
      ...plain,
      maxTokens: 12,
      logitBias: { 55: 100 },
    });
    assertEquals(forced.ids, new Array(12).fill(55));
    const tired = await engine.complete(prompt, {
      ...plain,
      maxTokens: 12,
      logitBias: { 55: 100 },
      frequencyPenalty: 30,
    });
    const times = tired.ids.filter((id) => id === 55).length;
    assert(times >= 3 && times <= 5, `written ${times} times`);
    assertEquals(tired.ids.slice(0, times), new Array(times).fill(55));
  },
);

gpuTest("penalties survive pre-emption: the same text as with room for all", async () => {
  const options = { ...plain, maxTokens: 180, presencePenalty: 0.5, frequencyPenalty: 0.3 };
  const prompts = [prompt, "The end", "Once upon a hill", "There was"];
  const texts: string[][] = [];
  for (const kvTokens of [2048, 256]) {
    await using engine = await TextEngine.open({
      model,
      isolate: "own",
      maxSequences: 4,
      kvTokens,
      contextLength: 192,
    });
    const found = await Promise.all(prompts.map((one) => engine.complete(one, options)));
    texts.push(found.map(({ text }) => text));
    assertEquals(engine.load().preemptions > 0, kvTokens === 256);
  }
  assertEquals(texts[1], texts[0]);
});

gpuTest("a penalty that is no number, or a bias outside the vocabulary, is refused", async () => {
  const engine = await shared();
  for (
    const [bad, text] of [
      [{ presencePenalty: NaN }, "presencePenalty is NaN"],
      [{ frequencyPenalty: Infinity }, "frequencyPenalty is Infinity"],
      [{ logitBias: { 1e9: 1 } }, "logitBias: token 1000000000"],
      [{ logitBias: { [-1]: 1 } }, "logitBias: token -1"],
      [{ logitBias: { 3: 1e6 } }, "logitBias of token 3 is 1000000"],
    ] as const
  ) {
    await assertRejects(() => engine.complete(prompt, bad), TypeError, text);
  }
  assertEquals((await engine.complete(prompt, { maxTokens: 2, ignoreEos: true })).ids.length, 2);
});
