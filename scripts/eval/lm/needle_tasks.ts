import { between, distinct, pick, shuffled } from "./draw.ts";
import type { Question, TaskFamily, TaskOptions, TaskSample } from "./task.ts";
import { choose, fill, wordings } from "./wordings.ts";

/** As many facts as fit with filler around them: about 40 tokens each. */
const atMost = (facts: number) => (tokens: number) =>
  Math.min(facts, Math.max(1, Math.floor((tokens - 300) / 40)));

function needles({ lexicon, wording, facts, questions }: TaskOptions): TaskSample {
  const { rng } = lexicon;
  const fact = choose(wordings.facts, wording, rng);
  const [n, kind] = pick(wordings.nouns, rng);
  const keyKind = lexicon.keyKind();
  const rows = distinct(facts, () => lexicon.draw(keyKind))
    .map((k) => ({ n, k, v: lexicon.draw(kind) }));
  return {
    statements: rows.map((row) => fill(fact.statement, row)),
    questions: shuffled(rows, rng).slice(0, questions).map((row) => ({
      text: capitalised(fill(fact.question + pick(wordings.styles, rng)[0], row)),
      values: [row.v],
    })),
    filler: true,
  };
}

/** One fact in a haystack. */
export const singleNeedle: TaskFamily = { facts: () => 1, sample: needles };

/** Facts of one form under 32 different keys (as many as fit below 2K). */
export const multiKey: TaskFamily = { facts: atMost(32), sample: needles };

/** Keys with 2 to 5 values each: all of them are wanted. Values are words. */
export const multiValue: TaskFamily = {
  facts: atMost(24),
  sample({ lexicon, wording, facts, questions }) {
    const { rng } = lexicon;
    const fact = choose(wordings.facts, wording, rng);
    const [n, kind] = pick(
      wordings.nouns.filter(([, kind]) => kind === "word" || kind === "pair"),
      rng,
    );
    const keyKind = lexicon.keyKind();
    const groups = Math.max(1, Math.min(questions, Math.floor(facts / 4)));
    const rows = distinct(groups, () => lexicon.draw(keyKind)).flatMap((k) =>
      distinct(between(2, 5, rng), () => lexicon.draw(kind)).map((v) => ({ n, k, v }))
    );
    while (rows.length < facts) rows.push({ n, k: lexicon.draw(keyKind), v: lexicon.draw(kind) });
    const placed = shuffled(rows, rng);
    const values = Map.groupBy(placed, (row) => row.k);
    const [question] = choose(wordings.multiValue, wording, rng);
    const asked: Question[] = [];
    for (const [k, found] of values) {
      if (found.length > 1) {
        asked.push({ text: fill(question, { n, k }), values: found.map((row) => row.v) });
      }
    }
    return {
      statements: placed.map((row) => fill(fact.statement, row)),
      questions: asked.slice(0, questions),
      filler: true,
    };
  },
};

/** Two to four keys in one question. */
export const multiQuery: TaskFamily = {
  facts: atMost(16),
  sample({ lexicon, wording, facts, questions }) {
    const { rng } = lexicon;
    const fact = choose(wordings.facts, wording, rng);
    const question = choose(wordings.multiQuery, wording, rng);
    const [n, kind] = pick(wordings.nouns, rng);
    const keyKind = lexicon.keyKind();
    const rows = distinct(Math.max(4, facts), () => lexicon.draw(keyKind))
      .map((k) => ({ n, k, v: lexicon.draw(kind) }));
    return {
      statements: rows.map((row) => fill(fact.statement, row)),
      questions: Array.from({ length: questions }, () => {
        const asked = shuffled(rows, rng).slice(0, between(2, 4, rng));
        const keys = asked.map((row) => row.k);
        const k = `${keys.slice(0, -1).join(", ")} and ${keys.at(-1)}`;
        return { text: capitalised(fill(question, { n, k })), values: asked.map((row) => row.v) };
      }),
      filler: true,
    };
  },
};

/** The one number of the text. */
export const passkey: TaskFamily = {
  facts: () => 1,
  sample({ lexicon, wording }) {
    const [statement, question] = choose(wordings.passkeys, wording, lexicon.rng);
    const v = lexicon.number();
    return {
      statements: [fill(statement, { v })],
      questions: [{ text: question, values: [v] }],
      filler: true,
    };
  },
};

function capitalised(text: string): string {
  return text.includes("->") ? text : text[0].toUpperCase() + text.slice(1);
}
