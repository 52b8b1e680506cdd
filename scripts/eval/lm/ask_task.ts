import type { TextEngine } from "../../../src/engine/text_engine.ts";
import type { DecodePolicy } from "../../../src/engine/types.ts";
import { askContext } from "./ask_context.ts";
import { type ContextOptions, sampleContexts } from "./sample_contexts.ts";

/** One cell of the table: a task at a length. */
export interface AskOptions extends ContextOptions {
  engine: TextEngine;
  decode?: DecodePolicy;
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
  const { task, length, engine, decode } = options;
  const scored: Scored[] = [];
  for (const context of sampleContexts(options)) {
    const answers = await askContext(engine, context, decode);
    context.questions.forEach(({ text: question, values }, i) => {
      const { text: answer, score } = answers[i];
      scored.push({ task, length, depth: context.depth, question, values, answer, score });
    });
  }
  return scored;
}
