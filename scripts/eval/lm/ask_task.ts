import { Rng } from "../../../src/common/rng.ts";
import type { TextEngine } from "../../../src/engine/text_engine.ts";
import type { DecodePolicy } from "../../../src/engine/types.ts";
import { families } from "./families.ts";
import type { Haystack } from "./haystack.ts";
import { Lexicon } from "./lexicon.ts";
import { scoreAnswer } from "./score_answer.ts";
import type { Split } from "./wordings.ts";

/** Tokens of a context's length that are left to the question and the answer. */
const TAIL = 400;

/** Longest answer that is waited for: four sentences of an identifier each take 240 tokens. */
const MOST_ANSWER_TOKENS = 260;

/** One cell of the table: a task at a length. */
export interface AskOptions {
  engine: TextEngine;
  haystack: Haystack;
  task: string;
  /** Tokens of context, question and answer included. */
  length: number;
  contexts: number;
  /** Questions asked about each context; they share its prefix. */
  questions: number;
  wording: Split;
  decode?: DecodePolicy;
  seed: number;
}

/** One scored answer. */
export interface Scored {
  task: string;
  length: number;
  /** Where the only fact of a single needle stood, from 0 (start) to 1; absent for tasks with several facts. */
  depth?: number;
  question: string;
  values: string[];
  answer: string;
  score: number;
}

/** Asks `questions` questions about each of `contexts` seeded contexts, greedily, and scores the answers. */
export async function askTask(options: AskOptions): Promise<Scored[]> {
  const { task, length, contexts, questions, wording, engine, haystack } = options;
  const family = families[task];
  if (family === undefined) {
    throw new TypeError(`no task "${task}", expected one of ${Object.keys(families).join(", ")}`);
  }
  const scored: Scored[] = [];
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
    const context = (sample.intro === undefined ? "" : `${sample.intro}\n`) + body;
    scored.push(
      ...await Promise.all(sample.questions.map(async ({ text, values }) => {
        const { text: answer } = await engine.complete(
          [{ role: "user", content: `${context}\n${text}` }],
          { maxTokens: MOST_ANSWER_TOKENS, decode: options.decode },
        );
        return {
          task,
          length,
          depth,
          question: text,
          values,
          answer,
          score: scoreAnswer(answer, values),
        };
      })),
    );
  }
  return scored;
}
