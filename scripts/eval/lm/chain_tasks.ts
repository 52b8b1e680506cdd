import { between, distinct, pick, shuffled } from "./draw.ts";
import type { TaskFamily } from "./task.ts";
import { both, compose, fill, heldOut, sentence, wordings } from "./wordings.ts";

/** Chains of one to four assignments, mixed; all variables that hold a value are wanted. */
export const variableTracking: TaskFamily = {
  facts: (tokens) => Math.min(20, Math.max(4, Math.floor((tokens - 300) / 40))),
  sample({ lexicon, wording, facts, questions }) {
    const { rng } = lexicon;
    const [first, copy, asked] = wording === "held_out"
      ? heldOut("variables", rng)
      : both(compose("assignment", lexicon));
    const hops = Array.from(
      { length: Math.max(1, Math.floor(facts / 4)) },
      () => between(1, 4, rng),
    );
    const total = hops.reduce((sum, hop) => sum + hop + 1, 0);
    const words = rng.uniform() < 2 / 3;
    const names = distinct(total, () => words ? lexicon.word() : lexicon.variable());
    const numbers = distinct(hops.length, () => lexicon.number());
    const chains = hops.map((hop, index) => {
      const variables = names.splice(0, hop + 1);
      const v = numbers[index];
      const steps = variables.map((x, i) =>
        i === 0 ? fill(first, { x, v }) : fill(copy, { x, y: variables[i - 1] })
      );
      return {
        steps,
        question: {
          text: fill(asked ?? compose("chain_question", lexicon), { v }),
          values: variables,
        },
      };
    });
    const order = shuffled(chains.flatMap((chain) => chain.steps.map(() => chain)), rng);
    const next = new Map(chains.map((chain) => [chain, 0]));
    return {
      statements: order.map((chain) => {
        const step = next.get(chain) ?? 0;
        next.set(chain, step + 1);
        return chain.steps[step];
      }),
      questions: shuffled(chains, rng).slice(0, questions).map((chain) => chain.question),
      filler: true,
    };
  },
};

/** Short questions on what is said about people. */
export const qa: TaskFamily = {
  facts: (tokens) => Math.min(24, Math.max(2, Math.floor((tokens - 300) / 40))),
  sample({ lexicon, wording, facts, questions }) {
    const { rng } = lexicon;
    const people = distinct(Math.max(1, Math.floor(facts / 2)), () => lexicon.draw("person"));
    const asked = Object.values(wordings.relations).filter(({ heldOut }) => heldOut.length > 0);
    const rows = shuffled(
      people.flatMap((p) =>
        shuffled(asked, rng).slice(0, 2).map((relation) => {
          const [clause, question] = wording === "seen"
            ? pick(relation.forms, rng)
            : pick(relation.heldOut, rng).map(([text]) => text);
          const o = pick(relation.objects, rng);
          const statement = wording === "seen"
            ? fill(compose("relation_frame", lexicon), { c: clause })
            : `${clause}.`;
          return {
            statement: sentence(fill(sentence(statement), { p, o })),
            question: { text: sentence(fill(question, { p })), values: [o] },
          };
        })
      ),
      rng,
    );
    return {
      statements: rows.map((row) => row.statement),
      questions: shuffled(rows, rng).slice(0, questions).map((row) => row.question),
      filler: true,
    };
  },
};
