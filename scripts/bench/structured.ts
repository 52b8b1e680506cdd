/** What constraints cost: tokens a second with and without, and masks and compilation by themselves. @module */
import { GrammarVocabulary } from "../../ffi/grammar_vocabulary.ts";
import { nativeProblem } from "../../ffi/load.ts";
import { modelFiles } from "../../src/cli/model_files.ts";
import { median } from "../../src/common/math.ts";
import { Rng } from "../../src/common/rng.ts";
import { type GenerateOptions, TextEngine } from "../../src/engine/text_engine.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { Vocab } from "../../src/tokenizer/vocab.ts";
import type { Bench, BenchContext } from "./harness.ts";

const decodeTokens = 96;
const rounds = 7;

/** An order as an extraction would have it; more items than are generated. */
const schema = {
  type: "object",
  properties: {
    customer: { type: "string", maxLength: 40 },
    placed: { type: "string", format: "date" },
    items: {
      type: "array",
      minItems: 200,
      items: {
        type: "object",
        properties: {
          name: { type: "string", minLength: 4, maxLength: 30 },
          count: { type: "integer", minimum: 1, maximum: 99 },
          unit: { enum: ["piece", "kilogram", "litre"] },
        },
        required: ["name", "count", "unit"],
        additionalProperties: false,
      },
    },
  },
  required: ["customer", "placed", "items"],
  additionalProperties: false,
};

/** Tools that may be called; a text that calls none is free, so this is what the possibility costs. */
const tools: GenerateOptions["constraint"] = {
  kind: "tool_calls",
  form: "hermes",
  choice: "auto",
  parallel: true,
  tools: Array.from({ length: 8 }, (_, i) => ({ name: `tool_${i}`, parameters: schema })),
};

async function run(context: BenchContext): Promise<void> {
  const problem = nativeProblem();
  if (problem !== undefined) return context.note(`left out: ${problem}`);
  const [model] = await modelFiles([], undefined);
  await decoding(context, model);
  for (const size of [0, 131_072]) await masks(context, model, size);
}

/** Streams with a constraint, without, and half of each, in turn. */
async function decoding(context: BenchContext, model: string): Promise<void> {
  await using engine = await TextEngine.open({ model, isolate: "process" });
  context.note(`${engine.info.id} on ${engine.info.device}`);
  const constrained: GenerateOptions = { constraint: { kind: "json_schema", schema } };
  const free: GenerateOptions = { ignoreEos: true };
  const uncalled: GenerateOptions = { constraint: tools, logitBias: withoutEnd(model) };
  const options = { maxTokens: decodeTokens, temperature: 0.8 };
  const rate = async (each: readonly GenerateOptions[]) => {
    const start = performance.now();
    const all = await Promise.all(
      each.map((own, seed) => engine.complete("The order in full:", { ...options, seed, ...own })),
    );
    const tokens = all.reduce((sum, { usage }) => sum + usage.completionTokens, 0);
    if (tokens !== each.length * decodeTokens) {
      throw new Error(`bench structured: ${tokens} tokens came of ${each.length} streams`);
    }
    const first = Math.min(...all.map(({ usage }) => usage.ttftMs));
    return (tokens - each.length) / (performance.now() - start - first) * 1000;
  };
  for (const rows of [1, 8]) {
    const kinds: Record<string, GenerateOptions[]> = {
      free: new Array(rows).fill(free),
      json_schema: new Array(rows).fill(constrained),
      tools_uncalled: new Array(rows).fill(uncalled),
    };
    if (rows > 1) kinds.half = Array.from({ length: rows }, (_, i) => i % 2 ? free : constrained);
    const found = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
    for (const each of Object.values(kinds)) await rate(each);
    for (let round = 0; round < rounds; round++) {
      for (const [kind, each] of Object.entries(kinds)) found[kind].push(await rate(each));
    }
    for (const [kind, rates] of Object.entries(found)) {
      context.report({
        case: `decode_${rows}_${kind}`,
        metric: "tokens_per_s",
        value: median(rates),
        unit: "tokens/s",
        ...(kind === "free" ? {} : {
          baseline: `decode_${rows}_free`,
          ratio: median(rates.map((rate, i) => rate / found.free[i])),
        }),
      });
    }
  }
}

/** Biases under which a text does not end. */
function withoutEnd(model: string): Record<number, number> {
  using file = GgufFile.open(model);
  const { endTokens } = Tokenizer.fromGguf(file.metadata);
  return Object.fromEntries([...endTokens].map((id) => [id, -100]));
}

/** Compilation, and masks along random texts; `size` tokens, made of pairs of the model's own, or 0 for the model's. */
async function masks(context: BenchContext, model: string, size: number): Promise<void> {
  using file = GgufFile.open(model);
  const vocab = new Vocab(file.metadata);
  const rng = new Rng(3);
  const tokens = Array.from({ length: vocab.size }, (_, id) => vocab.bytes(id));
  while (tokens.length < size) {
    const [a, b] = [tokens[rng.integer(vocab.size)], tokens[rng.integer(vocab.size)]];
    tokens.push(Uint8Array.from([...a, ...b]));
  }
  const name = size === 0 ? `${vocab.size}` : "128k";
  using vocabulary = await GrammarVocabulary.open(tokens, []);
  const words = new Uint32Array(Math.ceil(tokens.length / 32));
  const times: number[] = [];
  const compiled: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    using grammar = await vocabulary.compile("json_schema", JSON.stringify(schema));
    compiled.push(performance.now() - start);
    using text = grammar.start();
    for (let step = 0; step < 300; step++) {
      const begun = performance.now();
      text.mask(words);
      times.push(performance.now() - begun);
      const allowed = tokens.flatMap((_, id) => words[id >> 5] >>> (id & 31) & 1 ? [id] : []);
      if (text.accept(allowed[rng.integer(allowed.length)]) === "complete") break;
    }
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))] * 1000;
  const report = (metric: string, value: number, unit: string) =>
    context.report({ case: `masks_${name}`, metric, value, unit });
  report("mean_us", times.reduce((sum, time) => sum + time, 0) / times.length * 1000, "µs");
  report("p99_us", at(0.99), "µs");
  report("max_us", at(1), "µs");
  report("compile_ms", median(compiled), "ms");
}

/** Constrained decoding beside free decoding. */
export const bench: Bench = {
  name: "structured",
  summary: "tokens a second under a JSON schema, with tools, and free; masks and compilation",
  run,
};
