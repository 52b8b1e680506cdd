import { Rng } from "../../../src/common/rng.ts";
import { families } from "./families.ts";
import type { Haystack } from "./haystack.ts";
import { Lexicon } from "./lexicon.ts";
import type { Split } from "./wordings.ts";

/** Tokens of a context's length that are left to the question and the answer. */
const TAIL = 400;

/** Which contexts. */
export interface ContextOptions {
  haystack: Haystack;
  task: string;
  /** Tokens of context, question and answer included. */
  length: number;
  contexts: number;
  /** Questions about each context; they share its prefix. */
  questions: number;
  wording: Split;
  seed: number;
}

/** A text and what is asked about it. */
export interface TaskContext {
  text: string;
  /** Where the only fact of a single needle stands, from 0 (start) to 1. */
  depth?: number;
  questions: { text: string; values: string[] }[];
}

/** Makes `contexts` seeded contexts of a task, one after another. */
export function* sampleContexts(options: ContextOptions): Generator<TaskContext> {
  const { task, length, contexts, questions, wording, haystack } = options;
  const family = families[task];
  if (family === undefined) {
    throw new TypeError(`no task "${task}", expected one of ${Object.keys(families).join(", ")}`);
  }
  for (let index = 0; index < contexts; index++) {
    const rng = new Rng(options.seed * 1000 + index);
    const sample = family.sample({
      lexicon: new Lexicon(rng),
      wording,
      facts: family.facts(length),
      questions,
    });
    const depth = sample.statements.length === 1 ? (index + 0.5) / contexts : undefined;
    const body = sample.filler
      ? haystack.hide(
        sample.statements,
        length - TAIL,
        rng,
        depth === undefined ? undefined : [depth],
      )
      : sample.statements.join("\n") + "\n";
    const text = (sample.intro === undefined ? "" : `${sample.intro}\n`) + body;
    yield { text, depth, questions: sample.questions };
  }
}
