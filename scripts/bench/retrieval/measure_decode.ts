import { GgufFile } from "../../../src/formats/gguf.ts";
import { readModelConfig } from "../../../src/model/config.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import type { BenchContext } from "../harness.ts";
import { dumpedTokens } from "./dumped_cache.ts";
import { FRESH_TOKENS, LongContext } from "./long_decode.ts";
import { longestModel } from "./longest_model.ts";

/** Tokens of context at which decoding is timed; the longer ones take minutes of index building. */
const lengths = { quick: [8192, 16384], full: [8192, 32768, 131072] };
/** Tokens decoded each way, in turn. */
const decodeTokens = 32;
/** Logits may differ by this much (relative L2) before the answer counts as wrong. */
const maxError = 0.05;

/**
 * Tokens/s of the embedded model by context length, dense and by retrieval: over the dump of a real text where there is one, else over one that is made.
 * @throws {Error} when the two give different logits.
 */
export async function measureDecode(context: BenchContext): Promise<void> {
  const path = await longestModel();
  const wanted = context.full ? lengths.full : lengths.quick;
  using file = GgufFile.open(path);
  const limit = readModelConfig(file).contextLength;
  const reached = wanted.filter((length) => length <= limit);
  if (reached.length === 0) {
    context.note(`${path} has a context of ${limit}: nothing to time`);
    return;
  }
  const { dump } = context;
  await using long = await LongContext.open(path, Math.max(...reached));
  let freshAt: (length: number) => Uint32Array;
  if (dump === undefined) {
    const text = "The harbour lay still, and the lamps along the quay were lit one after another. ";
    const ids = Uint32Array.from(Tokenizer.fromGguf(file.metadata).encode(varied(text, 400)));
    await long.fill(ids);
    freshAt = () => ids.subarray(2048);
  } else {
    const ids = dumpedTokens(dump);
    long.load(dump);
    freshAt = (length) => ids.subarray(length - FRESH_TOKENS, length);
  }
  let first: number | undefined;
  for (const length of reached) {
    const found = await long.decode(length, decodeTokens, freshAt(length));
    if (!(found.logitsError < maxError)) {
      throw new Error(
        `bench retrieval: logits differ by ${found.logitsError} at ${length} tokens, at most ${maxError} may be`,
      );
    }
    const name = `decode_${dump === undefined ? "" : "lm_"}${length / 1024}k`;
    first ??= found.retrievalMs;
    context.report({
      case: name,
      metric: "tokens_per_s",
      value: 1000 / found.retrievalMs,
      unit: "tokens/s",
      baseline: "dense",
      ratio: found.denseMs / found.retrievalMs,
    });
    context.report({
      case: name,
      metric: "time_vs_shortest",
      value: found.retrievalMs / first,
      unit: "",
    });
    context.report({ case: name, metric: "logits_rel_l2", value: found.logitsError, unit: "" });
    context.report({ case: name, metric: "build_s", value: found.buildSeconds, unit: "s" });
  }
}

/** `count` sentences, no two alike. */
function varied(sentence: string, count: number): string {
  return Array.from({ length: count }, (_, i) => `${i * 37}. ${sentence}`).join("");
}
