import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { DeviceLostError, OutOfMemoryError } from "../../src/common/errors.ts";
import { Engine } from "../../src/engine/engine.ts";
import { openModel } from "../../src/engine/open_model.ts";
import { GpuStepRunner } from "../../src/engine/runner.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { NOT_FINITE } from "../../src/engine/step.ts";
import type { GenerateRequest, Generation } from "../../src/engine/types.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { classifyAdapter } from "../../src/gpu/adapter_class.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import {
  goldenGreedy,
  goldenPath,
  goldenPrompt,
  goldenPromptOf,
} from "../support/golden_models.ts";
import { TestSequence } from "../support/model_under_test.ts";
import { gpuTest } from "../support/needs_adapter.ts";

const path = goldenPath("tiny_arcee_q8_0");
const options = { contextLength: 256, maxSequences: 4, maxBatchTokens: 64, kvType: "f32" } as const;

function request(id: string, change: Partial<GenerateRequest> = {}): GenerateRequest {
  return {
    id,
    prompt: { type: "parts", parts: [{ type: "tokens", ids: [...goldenPrompt] }] },
    maxTokens: 24,
    sampling: greedy,
    ignoreEos: true,
    ...change,
  };
}

async function read(generation: Generation): Promise<number[]> {
  const ids: number[] = [];
  for await (const event of generation) if (event.type === "delta") ids.push(...event.ids);
  return ids;
}

gpuTest(
  "GpuStepRunner decodes through submit and collect as the golden continuation says",
  async () => {
    await using runner = await GpuStepRunner.open(path, options);
    assertEquals([runner.maxSequences, runner.maxBatchTokens, runner.contextLength], [4, 64, 256]);
    assert(runner.gpuBytes > 0 && runner.pagesTotal >= 8);
    const software = classifyAdapter({ vendor: "", description: runner.device, device: "" }) ===
      "software";
    assertEquals(runner.mixedStepTokens, software ? 64 : 128);
    const sequence = new TestSequence(2, [3]);
    const step = (rows: ReturnType<TestSequence["decode"]>[]) => {
      runner.submit({ rows, copies: [] });
      return [...runner.collect()];
    };
    assertEquals(step([sequence.prefill(goldenPrompt.slice(0, 30), false)]), [-1]);
    const found = step([sequence.prefill(goldenPrompt.slice(30))]);
    while (found.length < 24) found.push(...step([sequence.decode()]));
    assertEquals(found, goldenGreedy("tiny_arcee_q8_0"));
    assertThrows(() => runner.collect(), Error, "none was submitted");
    const over = new TestSequence(0, [0, 1]).prefill(new Uint32Array(65));
    assertThrows(() => step([over]), RangeError, "65 tokens, at most 64 fit");
  },
);

gpuTest("GpuStepRunner prepares between steps without touching what they left", async () => {
  await using runner = await GpuStepRunner.open(path, {
    ...options,
    prepareLater: true,
    nativeLayers: false,
  });
  const sequence = new TestSequence(2, [3]);
  const step = (row: ReturnType<TestSequence["decode"]>) => {
    runner.submit({ rows: [row], copies: [] });
    return [...runner.collect()];
  };
  const found = step(sequence.prefill(goldenPrompt));
  let more = true;
  let pieces = 0;
  while (found.length < 24) {
    if (more) more = await runner.prepare();
    pieces += Number(more);
    found.push(...step(sequence.decode()));
  }
  assertEquals(found, goldenGreedy("tiny_arcee_q8_0"));
  // The wide family has nothing to prepare.
  const software = classifyAdapter({ vendor: "", description: runner.device, device: "" }) ===
    "software";
  assertEquals(pieces > 0, software);
  while (await runner.prepare());
  assertEquals(await runner.prepare(), false);
});

/** A model whose token 77 is not a number; other tokens go on working. */
function faultyModel(): GgufFile {
  const bytes = Deno.readFileSync(goldenPath("tiny_llama_f32"));
  using sound = GgufFile.read(bytes);
  const embedding = sound.tensor("token_embd.weight");
  const rowBytes = embedding.shape[0] * 4;
  const start = bytes.length - dataBytes(sound) + embedding.offset + 77 * rowBytes;
  new Float32Array(bytes.buffer, start, rowBytes / 4).fill(NaN);
  return GgufFile.read(bytes);
}

gpuTest("Engine fails a prompt whose scores are not finite, and no other", async () => {
  using file = faultyModel();
  const { info, codec, runner: sound } = await openModel({ path, ...options });
  await sound[Symbol.asyncDispose]();
  await using engine = await Engine.open(async () => ({
    info,
    codec,
    runner: await GpuStepRunner.load(file, options),
  }));
  const score = async (ids: number[]) => {
    const prompt = { type: "parts" as const, parts: [{ type: "tokens" as const, ids }] };
    const asked = { prompt, maxTokens: 0, echo: true, logprobs: 2 };
    const scored = [];
    for await (const event of engine.submit(request(ids.join(), asked))) {
      if (event.type === "prompt") scored.push(...event.logprobs!);
    }
    return scored.map(({ logprob }) => Number.isFinite(logprob));
  };
  const found = await Promise.allSettled([score([1, 77, 3, 4]), score([1, 2, 3, 4])]);
  const [bad, good] = found;
  assert(bad.status === "rejected" && good.status === "fulfilled");
  assertMatch(bad.reason.message, /score token \d+: the logits are not finite/);
  assertEquals(good.value, [false, true, true, true]);
});

gpuTest("GpuStepRunner reports logits that are not finite", async () => {
  using file = faultyModel();
  await using runner = await GpuStepRunner.load(file, options);
  const row = new TestSequence(0, [0]).prefill([1, 77, 3]);
  for (const temperature of [0, 1]) {
    runner.submit({ rows: [{ ...row, sampling: { ...greedy, temperature } }], copies: [] });
    assertEquals([...runner.collect()], [NOT_FINITE]);
  }
  runner.submit({ rows: [new TestSequence(1, [1]).prefill([1, 2, 3])], copies: [] });
  assert(runner.collect()[0] >= 0);
});

/** Bytes of a file's data section: from its first tensor to the end. */
function dataBytes(file: GgufFile): number {
  return Math.max(...[...file.tensors.values()].map((t) => t.offset + t.byteLength));
}

gpuTest(
  "GpuStepRunner refuses sizes that do not fit, and closes the device it was given",
  async () => {
    await assertRejects(
      () => GpuStepRunner.open(path, { kvTokens: 1 << 20, maxKvBytes: 1 << 20 }),
      RangeError,
      "plan KV memory: kvTokens is 1048576, at most",
    );
    await assertRejects(
      () => GpuStepRunner.open(path, { contextLength: 4096, kvTokens: 128 }),
      RangeError,
      "plan KV memory: contextLength is 4096, the KV memory holds",
    );
    await assertRejects(
      () => GpuStepRunner.open(path, { maxSequences: 64, maxBatchTokens: 64 }),
      RangeError,
      "maxBatchTokens (--batch-tokens) is 64, expected more than the 64 of maxSequences",
    );
    const small = await Gpu.open({ maxBytes: 100_000 });
    await assertRejects(
      () => GpuStepRunner.open(path, { nativeLayers: false }, small),
      OutOfMemoryError,
      "cap of 100000",
    );
    assertEquals(small.buffers.bytes, 0);
  },
);

gpuTest(
  "GpuStepRunner plans keys and values for the largest buffer that its device takes",
  async () => {
    const maxBufferBytes = 300_000;
    const gpu = await Gpu.open({ maxBufferBytes });
    const sizes = { ...options, maxBatchTokens: 32, nativeLayers: false };
    await using runner = await GpuStepRunner.open(path, sizes, gpu);
    assert(runner.pagesTotal >= 4, `${runner.pagesTotal} pages`);
    const other = await Gpu.open({ maxBufferBytes });
    await assertRejects(
      () => GpuStepRunner.open(path, { kvTokens: 1 << 20, nativeLayers: false }, other),
      RangeError,
      "300000 per buffer",
    );
  },
);

gpuTest(
  "Engine gives the golden continuations of qwen2, qwen3, phi3 and gemma3, alone, side by side and on a cached prefix",
  async () => {
    for (
      const name of [
        "tiny_qwen2_f32",
        "tiny_qwen2_yarn_f32",
        "tiny_qwen3_f32",
        "tiny_phi3_f32",
        "tiny_gemma3_q8_0",
      ] as const
    ) {
      await using engine = await Engine.open(() =>
        openModel({ path: goldenPath(name), ...options })
      );
      const golden = [...goldenGreedy(name)];
      const tokens = [...goldenPromptOf(name)];
      const ask = (id: string) =>
        engine.submit(
          request(id, { prompt: { type: "parts", parts: [{ type: "tokens", ids: tokens }] } }),
        );
      assertEquals(await read(ask("alone")), golden, name);
      const cached: number[] = [];
      const follow = async (generation: Generation) => {
        const ids: number[] = [];
        for await (const event of generation) {
          if (event.type === "delta") ids.push(...event.ids);
          if (event.type === "finished") cached.push(event.usage.cachedTokens);
        }
        return ids;
      };
      const together = [1, 2, 3].map((i) => follow(ask(`beside ${i}`)));
      for (const ids of await Promise.all(together)) assertEquals(ids, golden, name);
      assert(cached.length === 3 && cached.every((count) => count >= 32), `${cached}`);
    }
  },
);

gpuTest(
  "Engine fails what runs when the real device is lost, reopens it and gives the same text again",
  async () => {
    const devices: GPUDevice[] = [];
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, ...args) {
      const device = await requestDevice.apply(this, args);
      devices.push(device);
      return device;
    };
    try {
      await using engine = await Engine.open(() => openModel({ path, ...options }), {
        reopenDelaysMs: [0, 50],
      });
      const golden = [...goldenGreedy("tiny_arcee_q8_0")];
      assertEquals(await read(engine.submit(request("before"))), golden);
      const running = engine.submit(request("running", { maxTokens: 200 }));
      const waiting = Array.from({ length: 5 }, (_, i) => engine.submit(request(`waiting ${i}`)));
      const outcomes = Promise.allSettled(waiting.map(read));
      await assertRejects(
        async () => {
          for await (const event of running) if (event.type === "delta") devices[0].destroy();
        },
        DeviceLostError,
        "GPU device was lost",
      );
      assertEquals(await read(engine.submit(request("after"))), golden);
      // Of those beside it, the ones that ran are lost too; what still waited went on.
      for (const outcome of await outcomes) {
        if (outcome.status === "fulfilled") assertEquals(outcome.value, golden);
        else assert(outcome.reason instanceof DeviceLostError, String(outcome.reason));
      }
      assertEquals(devices.length, 2);
      assertEquals(engine.load().state, "ready");
      assertEquals(engine.load().pagesUsed, 0);
    } finally {
      GPUAdapter.prototype.requestDevice = requestDevice;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  },
);
