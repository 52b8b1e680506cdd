import { type AttentionBudget, KvContext } from "../../../ffi/kv_context.ts";
import { median } from "../../../src/common/math.ts";
import { Rng } from "../../../src/common/rng.ts";
import { packStep } from "../../../src/engine/pack_step.ts";
import { type StepRow, VACANT } from "../../../src/engine/step.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { StepPass } from "../../../src/gpu/pass.ts";
import { readBuffer } from "../../../src/gpu/read_buffer.ts";
import { Readback } from "../../../src/gpu/readback.ts";
import { readModelConfig } from "../../../src/model/config.ts";
import { PAGE_TOKENS } from "../../../src/model/kv_cache.ts";
import { Transformer } from "../../../src/model/transformer.ts";
import { buildsAtOnce } from "../../../src/retrieval/builds_at_once.ts";
import type { RetrievalPolicy } from "../../../src/retrieval/policy.ts";
import { RetrievalAttention } from "../../../src/retrieval/retrieval_attention.ts";
import { MadeContext } from "./made_context.ts";
import { type LlamaShape, syntheticLlama } from "./synthetic_model.ts";

/** Rows read at once when queries are sampled, and of the largest step. */
const ROWS = 256;
/**
 * Spread of scores that keys are scaled to. Of 128K normal scores with this spread the best thousand hold 0.89 of the softmax mass, the
 * figure of RetrievalAttention section 2.3 for this model: the share is Φ(spread − 2.43).
 */
const SCORE_SPREAD = 3.66;

/** No step is begun after this long, so that a slow machine gives figures too. */
const MOST_SECONDS = 15;
/** Steps begun before this do not count: a GPU that waited for the index takes so long to come to its full clock, and caches are cold. */
const WARM_SECONDS = 2;
/** Steps that count at least, however slow they are. */
const LEAST_STEPS = 8;

/** What decoding by retrieval took. */
export interface RetrievalDecode {
  /** One for each policy asked for, in their order. */
  policies: PolicyDecode[];
  gpuBytes: number;
  cpuBytes: number;
  buildSeconds: number;
  /** Relative L2 error of the last layer's attention to CPU memory against exact attention, for the last token's queries. */
  error: number;
}

/** What decoding under one policy took. */
export interface PolicyDecode {
  msPerToken: number;
  /** Of which the CPU searched and attended. */
  searchMs: number;
  /** Share of the keys in CPU memory that were scored. */
  scanned: number;
}

/**
 * Decodes up to `steps` tokens under each policy, of a model of made weights over `tokens` tokens of context, of which all but the window is in CPU memory and made
 * too. Index building is most of the time; `note` says how far it is.
 * With `fixed` a number of keys is found by graphs, which take several times as long to build.
 */
export async function retrievalDecode(
  shape: LlamaShape,
  tokens: number,
  steps: number,
  policies: readonly RetrievalPolicy[],
  note: (text: string) => void,
  fixed = false,
): Promise<RetrievalDecode> {
  using gpu = await Gpu.open();
  const file = syntheticLlama({ ...shape, contextLength: tokens });
  let start = performance.now();
  const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
  const transformer = await Transformer.create(gpu, file, readModelConfig(file), {
    pages: 64,
    maxRows: ROWS,
    maxSequences: 2,
    contextLength: tokens,
    kvType: "f16",
  });
  note(`loaded in ${seconds()} s, ${(gpu.buffers.bytes / 2 ** 30).toFixed(2)} GiB on the GPU`);
  await using retrieval = await RetrievalAttention.open(gpu, transformer, { fixed });
  const readback = await Readback.open(gpu, 64);
  const step = (row: StepRow) => {
    const begin = performance.now();
    const windows = retrieval.begin([row]);
    const windowed = windows && { windows, buffer: retrieval.windowRows };
    const packed = packStep(gpu, transformer, [row], ROWS, windowed);
    const pass = transformer.record(new StepPass(gpu), packed, windows && retrieval);
    transformer.recordSample(pass, packed.samples);
    readback.record(pass, transformer.sampled, 0, 4);
    pass.submit();
    transformer.tellSampled(new Uint32Array(readback.read()));
    retrieval.finish([row]);
    return performance.now() - begin;
  };
  const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
  const row = (part: Partial<StepRow>): StepRow => ({
    slot: 0,
    tokens: new Uint32Array(0),
    position: 0,
    pages: [],
    sample: true,
    sampling,
    sampleIndex: 0,
    decode: { kind: "dense" },
    ...part,
  });

  // The queries of a text without meaning: with made weights, one layer's are like another's.
  const rng = new Rng(3);
  const text = Uint32Array.from({ length: ROWS }, () => rng.integer(shape.vocabulary));
  step(row({ tokens: text, pages: [0, 1, 2, 3] }));
  const { heads, kvHeads, headDim, paddedHeadDim } = transformer.shape;
  const queryBytes = ROWS * heads * paddedHeadDim * 4;
  const { query } = transformer.attentionBuffers[shape.layers - 1];
  const queries = new Float32Array(await readBuffer(gpu, query, 0, queryBytes));
  const size = Math.sqrt(queries.reduce((sum, x) => sum + x * x, 0) / (ROWS * heads));
  // Queries carry the scale of scores, for powers of two.
  const scale = SCORE_SPREAD / (Math.LN2 * size);
  note(`queries of norm ${size.toFixed(2)}: keys are scaled by ${scale.toFixed(3)}`);

  const made = new MadeContext(kvHeads, paddedHeadDim, headDim, scale);
  const pages = Math.floor((tokens - steps * policies.length - 64 - 640) / PAGE_TOKENS);
  const prefix = retrieval.openPrefix(pages * PAGE_TOKENS);
  start = performance.now();
  const builds: Promise<void>[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    if (builds.length >= buildsAtOnce(kvHeads)) await builds.shift();
    made.fill(prefix.context, layer, pages);
    prefix.context.sample(layer, queries);
    const ready = () => note(`layer ${layer + 1} of ${shape.layers} indexed, ${seconds()} s`);
    builds.push(prefix.context.build(layer, 0.01, prefix.fixed).then(ready));
  }
  await Promise.all(builds);
  prefix.state = "ready";
  const buildSeconds = (performance.now() - start) / 1000;

  const first = prefix.firstPages;
  const prompt = (first + pages) * PAGE_TOKENS + 512;
  // A sequence that never decodes holds the prefix while the other comes and goes.
  retrieval.adopt(1, prefix, prompt, policies[0]);
  const table = [
    ...Array.from({ length: first }, (_, i) => i),
    ...Array<number>(pages).fill(VACANT),
    ...Array.from({ length: 64 - first }, (_, i) => first + i),
  ];
  let position = prompt;
  const measure = (decode: RetrievalPolicy): PolicyDecode => {
    retrieval.adopt(0, prefix, prompt, decode);
    const before = retrieval.load;
    const times: number[] = [];
    let cold = 0;
    start = performance.now();
    while (times.length < steps && performance.now() - start < MOST_SECONDS * 1000) {
      if (performance.now() - start < WARM_SECONDS * 1000) cold++;
      times.push(step(row({ position: position++, pages: table, promptTokens: prompt, decode })));
    }
    const { load } = retrieval;
    retrieval.leave(0);
    const msPerToken = median(times.slice(Math.max(0, Math.min(cold, times.length - LEAST_STEPS))));
    note(
      `${times.length} tokens in ${seconds()} s under ${JSON.stringify(decode)}, ${
        msPerToken.toFixed(1)
      } ms a token`,
    );
    return {
      msPerToken,
      searchMs: (load.searchSeconds - before.searchSeconds) * 1000 / (load.tokens - before.tokens),
      scanned: (load.keysScanned - before.keysScanned) / (load.keysHeld - before.keysHeld),
    };
  };
  const result = {
    policies: policies.map(measure),
    gpuBytes: gpu.buffers.bytes,
    cpuBytes: retrieval.load.cpuBytes,
    buildSeconds,
    error: attentionError(
      prefix.context,
      shape.layers - 1,
      new Float32Array(await readBuffer(gpu, query, 0, heads * paddedHeadDim * 4)),
      heads,
    ),
  };
  readback.dispose();
  return result;
}

function attentionError(
  context: KvContext,
  layer: number,
  queries: Float32Array<ArrayBuffer>,
  heads: number,
): number {
  const attend = (budget: AttentionBudget) => {
    const result = {
      output: new Float32Array(queries.length),
      lse: new Float32Array(heads),
      reports: new Float32Array(3 * heads),
    };
    KvContext.attend([{ context, budget }], layer, queries, result);
    return result.output;
  };
  const found = attend({ kind: "error", share: 0.01 });
  const exact = attend({ kind: "all" });
  return Math.hypot(...found.map((x, i) => x - exact[i])) / Math.hypot(...exact);
}
