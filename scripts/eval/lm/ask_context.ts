import type { TextEngine } from "../../../src/engine/text_engine.ts";
import type { DecodePolicy } from "../../../src/engine/types.ts";
import type { TaskContext } from "./sample_contexts.ts";
import { scoreAnswer } from "./score_answer.ts";

/** Longest answer that is waited for: four sentences of an identifier each take 240 tokens. */
const MOST_ANSWER_TOKENS = 260;

/** A scored answer. */
export interface Answer {
  text: string;
  score: number;
}

/** Asks all questions about a context at once, greedily, and scores the answers in the questions' order. */
export function askContext(
  engine: TextEngine,
  { text, questions }: TaskContext,
  decode?: DecodePolicy,
): Promise<Answer[]> {
  return Promise.all(questions.map(async (question) => {
    const { text: answer } = await engine.complete(
      [{ role: "user", content: `${text}\n${question.text}` }],
      { maxTokens: MOST_ANSWER_TOKENS, decode },
    );
    return { text: answer, score: scoreAnswer(answer, question.values) };
  }));
}
