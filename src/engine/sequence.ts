import type { ConstrainedText } from "../constraint/constrained_text.ts";
import type { PageTable } from "./block_manager.ts";
import type { PooledText } from "./pooled_text.ts";
import type { TokenScores } from "./token_scores.ts";
import type { DecodePolicy, SamplingOptions } from "./types.ts";

/** What a sequence needs to be scheduled. */
export interface SequenceOptions {
  id: string;
  /** Token ids of the prompt, at least one. */
  prompt: readonly number[];
  /** Upper bound on generated tokens; 0 computes the prompt's keys and values and samples nothing. */
  maxTokens: number;
  sampling: SamplingOptions;
  scope?: string;
  criteria?: "latency" | "throughput";
  priority?: number;
  decode?: DecodePolicy;
  /** Takes what the model thinks of its tokens. */
  scores?: TokenScores;
  /** Takes the hidden states of its prompt. */
  pooled?: PooledText;
  /** What the generated text has to be. */
  constraint?: ConstrainedText;
}

/**
 * One generation as the scheduler sees it. `waiting`: has no pages. `running`: has a slot and pages.
 * `leaving`: has stopped, but steps that use its pages are in flight; it goes, or waits again, once they are read.
 */
export class Sequence {
  readonly id: string;
  /** Prompt and generated tokens that are known. */
  readonly ids: number[];
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly sampling: SamplingOptions;
  readonly scope: string;
  readonly latency: boolean;
  readonly priority: number;
  readonly decode: DecodePolicy;
  readonly scores: TokenScores | undefined;
  readonly pooled: PooledText | undefined;
  readonly constraint: ConstrainedText | undefined;
  /** Order of submission; set by the scheduler. */
  arrival = 0;
  /** Order among its class and priority, in which scopes alternate; set by the scheduler. */
  turn = 0;
  /** Milliseconds, on the scheduler's clock. */
  submittedAt = 0;

  state: "waiting" | "running" | "leaving" | "gone" = "waiting";
  /** While leaving: whether it waits again afterwards. */
  requeue = false;
  slot = -1;
  table: PageTable | undefined;
  /** Positions whose keys and values are written by submitted steps. */
  computed = 0;
  /** Tokens up to which this residency reads ids; past them it decodes. */
  prefillEnd = 0;
  /** Leading tokens of this residency's prompt that other sequences can find in the cache. */
  shared = 0;
  /** Admitted because it was overdue: as senior as latency work from then on. */
  overdue = false;
  /** Its logits were not finite, so that its keys and values are not to be trusted. */
  faulty = false;
  /** Tokens sampled by submitted steps; more than `generated` while steps are in flight. */
  sampled = 0;
  /** Submitted steps that hold a row of this sequence and were not collected. */
  inFlight = 0;
  /** Prompt tokens found in the cache when first admitted; -1 before. */
  cachedTokens = -1;
  /** The sequence whose prefill this one waits for, and the tokens of it that must be computed. */
  leader: { sequence: Sequence; tokens: number } | undefined;
  /** The most urgent sequence that waits for this one's prefill. */
  follower: Sequence | undefined;

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.ids = [...options.prompt];
    this.promptTokens = options.prompt.length;
    this.maxTokens = options.maxTokens;
    this.sampling = options.sampling;
    this.scope = options.scope ?? "";
    this.latency = (options.criteria ?? "latency") === "latency";
    this.priority = options.priority ?? 0;
    this.decode = options.decode ?? { kind: "auto" };
    this.scores = options.scores;
    this.pooled = options.pooled;
    this.constraint = options.constraint;
  }

  /** Generated tokens that are known. */
  get generated(): number {
    return this.ids.length - this.promptTokens;
  }

  get prefilling(): boolean {
    return this.computed < this.prefillEnd;
  }

  /** Whether its next token can be sampled: which ones a constraint allows is known once the last is. */
  get decodable(): boolean {
    return this.state === "running" && !this.prefilling && this.sampled < this.maxTokens &&
      (this.constraint === undefined || this.sampled === this.generated);
  }

  /** Leading tokens that may come from the prefix cache: keys and values do not tell the scores of a prompt, nor hidden states. */
  get reusable(): number {
    if (!this.shares) return 0;
    return this.scores?.prompt ? this.scores.next : Infinity;
  }

  /** Whether what it computes goes into the prefix cache. Texts that are embedded once would only push others' prefixes out of it. */
  get shares(): boolean {
    return !this.pooled?.whole;
  }

  /** Leading positions that are computed and whose tokens are known, so that they can be shared. */
  get known(): number {
    return Math.min(this.computed, this.ids.length);
  }
}

/**
 * A prompt that is only filled ahead, by throughput work for 0 tokens, ends where fewer tokens than these are left after a step: they would
 * take most of a tile's time, and whoever reads on has to read a tile of its own anyway. Measured on 2 cores: one call of a chain whose
 * prompt of 262 to 350 tokens is filled beside the decoding of the call before takes 0.95 to 1.02 of the time of no fill with such ends.
 */
export const LEAST_FILL_TOKENS = 32;

/** Tokens of a prompt that are not worth reading after the next `tokens` of it. */
export function unreadEnd(sequence: Sequence, tokens: number): number {
  const rest = sequence.prefillEnd - sequence.computed - tokens;
  const filledAhead = sequence.maxTokens === 0 && !sequence.latency &&
    !sequence.scores?.prompt && !sequence.pooled;
  return filledAhead && rest < LEAST_FILL_TOKENS ? rest : 0;
}

/** Whether it goes before ordinary throughput work: latency work, and throughput work that is overdue. */
export function isPressing(sequence: Sequence): boolean {
  return sequence.latency || sequence.overdue;
}

/**
 * Negative when `a` goes before `b`: latency work first, and throughput work that is overdue, then the smaller
 * priority number, then the earlier turn, then the older.
 */
export function bySeniority(a: Sequence, b: Sequence): number {
  const first = isPressing(a);
  if (first !== isPressing(b)) return first ? -1 : 1;
  return a.priority - b.priority || a.turn - b.turn || a.arrival - b.arrival;
}
