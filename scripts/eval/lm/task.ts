import type { Lexicon } from "./lexicon.ts";
import type { Split } from "./wordings.ts";

/** A question and the values that a right answer contains. */
export interface Question {
  text: string;
  values: string[];
}

/** What a context holds and what is asked about it. */
export interface TaskSample {
  /** In the order of the text. */
  statements: string[];
  questions: Question[];
  /** Stands before the context. */
  intro?: string;
  /** Whether other text stands between the statements. */
  filler: boolean;
}

/** How a sample is drawn. */
export interface TaskOptions {
  lexicon: Lexicon;
  wording: Split;
  /** Statements to aim for. */
  facts: number;
  /** Most questions. */
  questions: number;
}

/** A kind of task, in the spirit of RULER (Hsieh et al. 2024). */
export interface TaskFamily {
  /** Statements in a context of `tokens`. */
  facts(tokens: number): number;
  sample(options: TaskOptions): TaskSample;
}
