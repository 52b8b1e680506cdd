import { between, distinct, shuffled } from "./draw.ts";
import type { TaskFamily } from "./task.ts";
import { fill, question } from "./wordings.ts";

/** A JSON object of random identifiers that fills the context: about 80 tokens an entry. */
export const keyValue: TaskFamily = {
  facts: (tokens) => Math.max(4, Math.floor((tokens - 300) / 80)),
  sample({ lexicon, wording, facts, questions }) {
    const { rng } = lexicon;
    const keys = distinct(facts, () => lexicon.draw("uuid"));
    const rows = keys.map((key) => ({ key, value: lexicon.draw("uuid") }));
    const ask = (k: string) =>
      fill(question("keyValue", "key_value_question", wording, lexicon), { k }) +
      (rng.uniform() < 0.5 ? " Give the value only." : "");
    return {
      intro: "JSON data:",
      statements: rows.map(({ key, value }, index) =>
        `${index === 0 ? "{" : ""}"${key}": "${value}"${index + 1 < rows.length ? "," : "}"}`
      ),
      questions: shuffled(rows, rng).slice(0, questions)
        .map(({ key, value }) => ({ text: ask(key), values: [value] })),
      filler: false,
    };
  },
};

/** Tokens of an entry of a numbered list of `tokens` tokens: a word, a line break and the digits of its number, which are one token each. */
const entryTokens = (tokens: number) => 4 + Math.log10(tokens);

/** A numbered list in which 2 to 5 words come ten times and the others twice. */
export const commonWords: TaskFamily = {
  facts: (tokens) => Math.max(20, Math.floor((tokens - 300) / entryTokens(tokens))),
  sample({ lexicon, wording, facts }) {
    const { rng } = lexicon;
    const wanted = between(2, 5, rng);
    const rare = Math.min(600, Math.max(1, Math.floor((facts - wanted * 10) / 2)));
    const words = distinct(wanted + rare, () => lexicon.word());
    const often = Math.max(10, Math.floor((facts - rare * 2) / wanted));
    const bag = shuffled(
      words.flatMap((word, index) => Array<string>(index < wanted ? often : 2).fill(word)),
      rng,
    );
    return {
      statements: bag.map((word, index) => `${index + 1}. ${word}`),
      questions: [{
        text: fill(question("commonWords", "common_question", wording, lexicon), {
          c: String(wanted),
        }),
        values: words.slice(0, wanted),
      }],
      filler: false,
    };
  },
};

/** Lines of words whose frequencies fall like rank to the power of -2: the first three are wanted. */
export const frequentWords: TaskFamily = {
  facts: (tokens) => Math.max(40, Math.floor((tokens - 300) / 3)),
  sample({ lexicon, wording, facts }) {
    const { rng } = lexicon;
    const words = distinct(30, () => lexicon.word());
    const sums: number[] = [];
    for (let rank = 1; rank <= words.length; rank++) sums.push((sums.at(-1) ?? 0) + rank ** -2);
    const last = sums[sums.length - 1];
    const counts = new Map<string, number>();
    const bag = Array.from({ length: facts }, () => {
      const share = rng.uniform() * last;
      const word = words[sums.findIndex((sum) => share < sum)];
      counts.set(word, (counts.get(word) ?? 0) + 1);
      return word;
    });
    const ranked = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([word]) => word);
    return {
      intro: "Read the following coded text.",
      statements: Array.from(
        { length: Math.ceil(bag.length / 12) },
        (_, line) => `> ${bag.slice(line * 12, line * 12 + 12).join(" ")}`,
      ),
      questions: [{
        text: question("frequentWords", "frequent_question", wording, lexicon),
        values: ranked,
      }],
      filler: false,
    };
  },
};
