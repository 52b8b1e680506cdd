import { assert, assertEquals } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { TextEngine } from "../../src/engine/text_engine.ts";
import type { DecodePolicy } from "../../src/engine/types.ts";
import { gpuTest } from "../support/needs_adapter.ts";

// Opened while the module loads: a library opened inside a test counts as leaked by it.
const problem = nativeProblem();
const model = new URL("../../models/sparrow-mini.gguf", import.meta.url);

async function scoresByRetrieval(): Promise<void> {
  const retrieval = { crossover: 1500, waitForIndex: true, last: 256, tail: 0, idleBytes: 0 };
  await using engine = await TextEngine.open({
    model,
    isolate: "own",
    contextLength: 2048,
    maxSequences: 4,
    retrieval,
  });
  const line = "The fox went to the river. A small boat lay there, and nobody was in it. ";
  const text = Array.from({ length: 90 }, (_, i) => `${i}: ${line}`).join("");
  const ids = (await engine.tokenize(text)).slice(0, 1500);
  const run = (decode: DecodePolicy, echo = false) =>
    engine.complete([{ type: "tokens", ids }], {
      maxTokens: 24,
      ignoreEos: true,
      logprobs: 3,
      echo,
      decode,
    });
  const dense = await run({ kind: "dense" });
  // All keys: the same tokens, and about the same log probabilities; the prompt's are of reading it, which is dense.
  const [sparse, echoed, beside] = await Promise.all([
    run({ kind: "retrieval", mass: 1 }),
    run({ kind: "retrieval", mass: 1 }, true),
    run({ kind: "dense" }, true),
  ]);
  assertEquals(beside.logprobs!.length, 24);
  for (const { ids, logprobs } of [sparse, echoed]) {
    assertEquals(ids, dense.ids);
    logprobs!.forEach(({ logprob, top }, i) => {
      const off = Math.abs(logprob! - dense.logprobs![i].logprob!);
      assert(off < 0.05, `token ${i}: ${logprob}, ${dense.logprobs![i].logprob} densely`);
      assertEquals(top[0].logprob, logprob);
    });
  }
  assertEquals(echoed.usage.cachedTokens, 0);
  assertEquals(echoed.prompt!.ids, ids);
  assertEquals(
    echoed.prompt!.logprobs!.map(({ logprob }) => logprob),
    beside.prompt!.logprobs!.map(({ logprob }) => logprob),
  );
}

if (problem === undefined) {
  gpuTest(
    "answers by retrieval have log probabilities, and their prompts those of reading",
    scoresByRetrieval,
  );
} else {
  Deno.test({
    name: "answers by retrieval have log probabilities (skipped: the native library is not built)",
    ignore: true,
    fn: scoresByRetrieval,
  });
}
