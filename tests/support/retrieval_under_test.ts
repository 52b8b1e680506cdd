import { packStep } from "../../src/engine/pack_step.ts";
import type { StepRow } from "../../src/engine/step.ts";
import { StepPass } from "../../src/gpu/pass.ts";
import { RetrievalAttention } from "../../src/retrieval/retrieval_attention.ts";
import type { RetrievalOptions } from "../../src/retrieval/retrieval_options.ts";
import type { VacantPages } from "../../src/retrieval/vacant_pages.ts";
import { ModelUnderTest, type StepResult } from "./model_under_test.ts";

/** A model that a test drives step by step, with retrieval as the runner uses it. */
export class RetrievalUnderTest implements AsyncDisposable {
  readonly vacant: VacantPages[] = [];

  private constructor(readonly model: ModelUnderTest, readonly retrieval: RetrievalAttention) {}

  static async open(
    model: ModelUnderTest,
    options: RetrievalOptions = {},
  ): Promise<RetrievalUnderTest> {
    const { gpu, transformer } = model;
    return new RetrievalUnderTest(model, await RetrievalAttention.open(gpu, transformer, options));
  }

  /** Runs one step; logits are those of the sampled rows, in the batch's order. */
  step(rows: StepRow[]): StepResult {
    const { model: { gpu, transformer, readback, vocabulary }, retrieval } = this;
    const windows = retrieval.begin(rows);
    const windowed = windows && { windows, buffer: retrieval.windowRows };
    const { maxRows } = ModelUnderTest;
    const step = packStep(gpu, transformer, rows, maxRows, windowed);
    const pass = transformer.record(new StepPass(gpu), step, windows && retrieval);
    transformer.recordSample(pass, step.samples);
    const bytes = Math.max(1, step.samples) * 4;
    readback.record(pass, transformer.logits, 0, bytes * transformer.logitsPerRow);
    readback.record(pass, transformer.sampled, 0, bytes);
    pass.submit();
    const logits = new Float32Array(readback.read());
    const tokens = new Uint32Array(readback.read());
    transformer.tellSampled(tokens);
    retrieval.finish(rows);
    this.vacant.push(...retrieval.takeVacant());
    const start = (i: number) => i * transformer.logitsPerRow;
    return {
      tokens: Array.from(tokens.subarray(0, step.samples)),
      logits: Array.from(
        { length: step.samples },
        (_, i) => logits.slice(start(i), start(i) + vocabulary),
      ),
      sharedBlocks: step.shared?.reduce((sum, count) => sum + count, 0) ?? 0,
    };
  }

  /** Waits until no index is being built, and `ready` sequences retrieve. */
  async untilReady(ready: number): Promise<void> {
    for (let waited = 0; this.retrieval.load.ready < ready; waited++) {
      if (waited === 2000) throw new Error(`${this.retrieval.load.ready} of ${ready} are ready`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.retrieval[Symbol.asyncDispose]();
  }
}
