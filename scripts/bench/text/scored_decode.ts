import { median } from "../../../src/common/math.ts";
import type { TextEngine } from "../../../src/engine/text_engine.ts";
import type { BenchContext } from "../harness.ts";

const DECODE = 96;
const ROUNDS = 7;
const TOP = 5;

/**
 * Decoding with the log probabilities of each token and of the likeliest, against decoding without; and reading a prompt to score its tokens, against
 * reading it.
 *
 * @param fresh tokens of a prompt that nothing was computed of
 */
export async function scoredDecode(
  context: BenchContext,
  engine: TextEngine,
  fresh: (length: number) => number[],
): Promise<void> {
  const generate = (ids: number[], maxTokens: number, logprobs?: number, echo?: boolean) =>
    engine.complete([{ type: "tokens", ids }], { maxTokens, ignoreEos: true, logprobs, echo });
  const decode = async (rows: number, logprobs?: number) => {
    const prompts = Array.from({ length: rows }, () => fresh(32));
    const all = await Promise.all(prompts.map((ids) => generate(ids, DECODE, logprobs)));
    if (
      all.some((each) => (each.logprobs ?? []).length !== (logprobs === undefined ? 0 : DECODE))
    ) {
      throw new Error(
        "bench text: tokens came without their log probabilities, or with unwanted ones",
      );
    }
    return Math.min(...all.map(({ usage }) => usage.decodeMs)) / (DECODE - 1);
  };
  for (const rows of [1, 8]) {
    const times: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      for (const i of [round % 2, (round + 1) % 2]) {
        times[i].push(await decode(rows, i === 0 ? TOP : undefined));
      }
    }
    const [ms, without] = times.map(median);
    context.report({
      case: `decode_logprobs${TOP}_${rows}`,
      metric: "tokens_per_s",
      value: rows * 1000 / ms,
      unit: "tokens/s",
      baseline: `without log probabilities, ${(rows * 1000 / without).toFixed(0)} tokens/s`,
      ratio: median(times[0].map((each, i) => times[1][i] / each)),
    });
  }
  const reads: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    const { ttftMs } = (await generate(fresh(1024), 1)).usage;
    reads[1].push(ttftMs);
    reads[0].push((await generate(fresh(1024), 1, 1, true)).usage.ttftMs);
  }
  const [ms, without] = reads.map(median);
  context.report({
    case: "prompt_logprobs1_1k",
    metric: "tokens_per_s",
    value: 1024 * 1000 / ms,
    unit: "tokens/s",
    baseline: `reading alone, ${(1024 * 1000 / without).toFixed(0)} tokens/s`,
    ratio: median(reads[0].map((each, i) => reads[1][i] / each)),
  });
}
