import everydayFacts from "./everyday.json" with { type: "json" };
import { shuffled } from "./draw.ts";
import type { TaskFamily } from "./task.ts";

/**
 * Facts and questions as people write them, a list by hand of forms that no rule of the grammar was made for: how much of
 * what training teaches carries over. Both splits of wording are the same.
 */
export const everyday: TaskFamily = {
  facts: () => 8,
  sample({ lexicon, facts, questions }) {
    const drawn = shuffled(everydayFacts, lexicon.rng).slice(0, facts);
    return {
      statements: drawn.map(([statement]) => statement),
      questions: shuffled(drawn, lexicon.rng).slice(0, questions)
        .map(([, text, value]) => ({ text, values: [value] })),
      filler: true,
    };
  },
};
