import { between, distinct, pick, shuffled } from "./draw.ts";
import type { Question, TaskFamily, TaskOptions, TaskSample } from "./task.ts";
import { compose, fill, heldOut, question, sentence, wordings } from "./wordings.ts";

/** As many facts as fit with filler around them: about 40 tokens each. */
const atMost = (facts: number) => (tokens: number) =>
  Math.min(facts, Math.max(1, Math.floor((tokens - 300) / 40)));

/** A wording of facts: one statement's, and of each question anew where training's are used. */
function factForm({ lexicon, wording }: TaskOptions): { statement: string; ask: () => string } {
  if (wording === "held_out") {
    const [statement, asked] = heldOut("facts", lexicon.rng);
    return { statement, ask: () => asked };
  }
  return { statement: compose("fact", lexicon), ask: () => compose("fact_question", lexicon) };
}

function needles(options: TaskOptions): TaskSample {
  const { lexicon, facts, questions } = options;
  const { rng } = lexicon;
  const fact = factForm(options);
  const [n, kind] = pick(wordings.nouns, rng);
  const keyKind = lexicon.keyKind();
  const rows = distinct(facts, () => lexicon.draw(keyKind))
    .map((k) => ({ n, k, v: lexicon.draw(kind) }));
  return {
    statements: rows.map((row) => fill(fact.statement, row)),
    questions: shuffled(rows, rng).slice(0, questions).map((row) => ({
      text: sentence(fill(fact.ask() + pick(wordings.styles, rng)[0], row)),
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
  sample(options) {
    const { lexicon, wording, facts, questions } = options;
    const { rng } = lexicon;
    const fact = factForm(options);
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
    const asked: Question[] = [];
    for (const [k, found] of values) {
      if (found.length > 1) {
        const form = question("multiValue", "multi_value_question", wording, lexicon);
        asked.push({ text: sentence(fill(form, { n, k })), values: found.map((row) => row.v) });
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
  sample(options) {
    const { lexicon, wording, facts, questions } = options;
    const { rng } = lexicon;
    const fact = factForm(options);
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
        const form = question("multiQuery", "multi_query_question", wording, lexicon);
        return { text: sentence(fill(form, { n, k })), values: asked.map((row) => row.v) };
      }),
      filler: true,
    };
  },
};

/** The one number to remember. */
export const passkey: TaskFamily = {
  facts: () => 1,
  sample({ lexicon, wording }) {
    const { rng } = lexicon;
    const v = lexicon.number();
    const n = pick(wordings.passkeyNouns, rng);
    const [statement, asked] = wording === "held_out"
      ? heldOut("passkeys", rng)
      : [compose("passkey", lexicon), compose("passkey_question", lexicon)];
    return {
      statements: [fill(statement, { v, n })],
      questions: [{ text: sentence(fill(asked, { n })), values: [v] }],
      filler: true,
    };
  },
};
