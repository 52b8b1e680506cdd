import { median } from "../../../src/common/math.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import type { ChatMessage, GenerateUsage } from "../../../src/engine/types.ts";
import type { BenchContext } from "../harness.ts";

/** Sentences of the document that is talked about: some 13,000 tokens. */
const SENTENCES = 530;
const TURNS = 4;
const ANSWER_TOKENS = 96;
const ROUNDS = 2;

/**
 * A conversation about a long text as a program holds it, every turn with all before: how long its later turns wait for their first token and
 * how fast they decode by retrieval, against dense decoding, in turn.
 */
export async function conversation(context: BenchContext, model: string): Promise<void> {
  await using engine = await TextEngine.open({ model });
  const times = { dense: [] as GenerateUsage[], retrieval: [] as GenerateUsage[] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const kind of ["dense", "retrieval"] as const) {
      times[kind].push(...await talk(engine, kind, `${round} ${kind}`));
    }
  }
  const middle = (
    of: (usage: GenerateUsage) => number,
  ) => [median(times.retrieval.map(of)), median(times.dense.map(of))];
  const [first, denseFirst] = middle(({ ttftMs }) => ttftMs);
  const [rate, denseRate] = middle(({ decodeMs }) => 1000 * (ANSWER_TOKENS - 1) / decodeMs);
  const name = "conversation_13k";
  const baseline = "dense";
  context.report({
    case: name,
    metric: "later_turn_ttft_ms",
    value: first,
    unit: "ms",
    baseline,
    ratio: denseFirst / first,
  });
  context.report({
    case: name,
    metric: "later_turn_tokens_per_s",
    value: rate,
    unit: "tokens/s",
    baseline,
    ratio: rate / denseRate,
  });
}

/** The usage of every turn but the first. Throws when one of them reads again what the engine has read. */
async function talk(
  engine: TextEngine,
  kind: "dense" | "retrieval",
  title: string,
): Promise<GenerateUsage[]> {
  const sentences = Array.from(
    { length: SENTENCES },
    (_, i) =>
      `${i}. The harbour lay still, and the lamps along the quay were lit one after another.`,
  );
  const messages: ChatMessage[] = [
    { role: "user", content: `${title}. ${sentences.join(" ")}\nWhat was lit?` },
  ];
  const later: GenerateUsage[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const { text, usage } = await engine.complete(messages, {
      maxTokens: ANSWER_TOKENS,
      ignoreEos: true,
      decode: { kind },
    });
    if (turn > 0) {
      const read = usage.promptTokens - usage.cachedTokens;
      if (read > 200) throw new Error(`bench retrieval: turn ${turn} reads ${read} tokens again`);
      later.push(usage);
    }
    messages.push({ role: "assistant", content: text }, { role: "user", content: "And then?" });
  }
  return later;
}
