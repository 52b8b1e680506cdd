import { DenseMatrix } from "../../../ffi/dense_matrix.ts";
import { median } from "../../../src/common/math.ts";
import { classifyAdapter } from "../../../src/gpu/adapter_class.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import type { BenchContext } from "../harness.ts";
import { prepared } from "./prepared.ts";

/** Tokens that all rows have in common, and tokens of each row's own. */
const PREFIX = 6144;
const OWN = 20;
const DECODE = 24;

/**
 * Decoding 8 and 32 rows behind one prompt of 6K tokens: shaders with and without attending to it together, and native layers, which always do, where those are the
 * default.
 */
export async function sharedDecode(context: BenchContext, model: string): Promise<void> {
  const open = (sharedAttention: boolean, nativeLayers = false) =>
    TextEngine.open({
      model,
      isolate: "process",
      contextLength: 8192,
      retrieval: false,
      sharedAttention,
      nativeLayers,
    });
  await using together = await open(true);
  await using each = await open(false);
  const { device: description } = together.info;
  const pays = DenseMatrix.pays &&
    classifyAdapter({ vendor: "", description, device: "" }) === "software";
  await using native = pays ? await open(true, true) : undefined;
  const words = await together.tokenize("It was a bright cold day, and the ship lay at anchor.");
  const ids = Array.from({ length: PREFIX }, (_, i) => words[i * 7 % words.length]);
  const step = async (engine: TextEngine, rows: number) => {
    const all = await Promise.all(Array.from({ length: rows }, (_, row) => {
      const own = Array.from(
        { length: OWN },
        (_, i) => words[(row + i * (row + 1)) % words.length],
      );
      return engine.complete([{ type: "tokens", ids: [...ids, ...own] }], {
        maxTokens: DECODE,
        ignoreEos: true,
      });
    }));
    // The last to start decodes beside all others, from its first token to the end of the first to end.
    const ms = Math.min(...all.map(({ usage }) => usage.decodeMs)) / (DECODE - 1);
    return { ms, text: JSON.stringify(all.map(({ ids }) => ids)) };
  };
  for (const engine of [together, each]) await step(engine, 1);
  await prepared();
  for (const rows of [8, 32]) {
    const times: [number[], number[]] = [[], []];
    for (let round = 0; round < 4; round++) {
      const results = [await step(together, rows), await step(each, rows)];
      if (results[0].text !== results[1].text) {
        throw new Error(`bench text: ${rows} rows that share attention put out another text`);
      }
      // The first round fills the rows' own tokens.
      if (round > 0) results.forEach(({ ms }, i) => times[i].push(ms));
    }
    const [ms, alone] = times.map(median);
    if (native) {
      const natively: number[] = [];
      for (let round = 0; round < 4; round++) natively.push((await step(native, rows)).ms);
      const own = median(natively.slice(1));
      context.report({
        case: `native_shared_${rows}x6k`,
        metric: "ms_per_step",
        value: own,
        unit: "ms",
        baseline: `shaders, ${ms.toFixed(1)} ms`,
        ratio: ms / own,
      });
    }
    context.report({
      case: `decode_shared_${rows}x6k`,
      metric: "ms_per_step",
      value: ms,
      unit: "ms",
      baseline: `each row by itself, ${alone.toFixed(1)} ms`,
      ratio: alone / ms,
    });
  }
}
