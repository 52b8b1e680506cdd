import { MAX_LOGPROBS } from "../common/max_logprobs.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";
import { SCORE_BYTES, SCORED_BYTES } from "../kernels/score.ts";
import type { Transformer } from "../model/transformer.ts";
import { packRows } from "./pack_step.ts";
import type { StepRow } from "./step.ts";
import type { TokenScore, TokenScores } from "./token_scores.ts";

/** What shaders/sampling/score.wgsl takes for "the token chosen from these logits", and gives where there is no token. */
const SAMPLED = 0xffffffff;

/** A score that a step is to give. */
interface Wanted {
  /** Which of the step's sampled rows, or for a prompt's tokens which row of the step. */
  row: number;
  token: number;
  /** Index of the token in its sequence. */
  index: number;
  scores: TokenScores;
}

/** The scores that a step is to give. */
export interface ScorePlan {
  readonly sampled: readonly Wanted[];
  readonly prompt: readonly Wanted[];
  /** Rows of the step. */
  readonly rows: number;
  /** Whether the sampled rows' logits were kept from before they were adjusted. */
  readonly kept: boolean;
}

/**
 * Scores tokens of a step for rows that ask for it: the sampled ones in the step itself, those of prompts afterwards, logits of so many rows at a time
 * as are sampled in a step at most.
 */
export class TokenScorer {
  readonly #gpu: Gpu;
  readonly #transformer: Transformer;
  readonly #readback: Readback;
  readonly #atOnce: number;

  private constructor(gpu: Gpu, transformer: Transformer, readback: Readback, atOnce: number) {
    this.#gpu = gpu;
    this.#transformer = transformer;
    this.#readback = readback;
    this.#atOnce = atOnce;
  }

  /** Makes what reads the scores of `transformer` back. */
  static async open(gpu: Gpu, transformer: Transformer): Promise<TokenScorer> {
    const atOnce = transformer.buffers.maxSamples;
    const readback = await Readback.open(gpu, atOnce * SCORE_BYTES);
    return new TokenScorer(gpu, transformer, readback, atOnce);
  }

  /**
   * What the rows of a step ask for; undefined where they ask for nothing. Call it when the step's layers are recorded.
   *
   * @param adjusted rows whose logits are going to be adjusted, which scores do not show
   */
  begin(pass: StepPass, batch: readonly StepRow[], adjusted: number): ScorePlan | undefined {
    if (!batch.some(({ scores }) => scores)) return undefined;
    const sampled = batch.filter((row) => row.sample).flatMap((row, i): Wanted[] => {
      const { scores, ids = [], generatedFrom = ids.length, sampleIndex } = row;
      if (!scores) return [];
      return [{ row: i, token: SAMPLED, index: generatedFrom + sampleIndex, scores }];
    });
    const kept = sampled.length > 0 && adjusted > 0;
    if (kept) this.#transformer.recordKeep(pass, batch.filter((row) => row.sample).length);
    const rows = batch.reduce((sum, { tokens }) => sum + Math.max(1, tokens.length), 0);
    return { sampled, prompt: promptTokens(batch), rows, kept };
  }

  /** Records the scores of sampled tokens, after they were sampled. */
  recordSampled(pass: StepPass, { sampled, kept }: ScorePlan): void {
    if (sampled.length > 0) this.#record(pass, sampled, kept);
  }

  /** Reads the scores of a step that was submitted, and has those of prompts made: before another step is. */
  collect({ sampled, prompt, rows }: ScorePlan): void {
    if (sampled.length > 0) this.#read(sampled);
    const { buffers } = this.#transformer;
    for (let at = 0; at < prompt.length; at += this.#atOnce) {
      const part = prompt.slice(at, at + this.#atOnce);
      const samples = part.length;
      buffers.writeCounts({ rows, samples, decodes: 0 });
      buffers.writeSamples(packRows(part.map(({ row }) => row)));
      const pass = new StepPass(this.#gpu);
      this.#transformer.recordLogits(pass, rows, samples);
      this.#record(pass, part.map((wanted, row) => ({ ...wanted, row })), false);
      pass.submit();
      this.#read(part);
    }
  }

  /** Frees what it reads with. */
  dispose(): void {
    this.#readback.dispose();
  }

  #record(pass: StepPass, wanted: readonly Wanted[], kept: boolean): void {
    const list = new Uint32Array(wanted.length * SCORED_BYTES / 4);
    wanted.forEach(({ row, token, scores }, place) =>
      list.set([row, token, scores.top, place], place * SCORED_BYTES / 4)
    );
    const { scoreBuffers } = this.#transformer;
    this.#gpu.buffers.write(scoreBuffers.scored, 0, list);
    this.#transformer.recordScore(pass, wanted.length, kept);
    this.#readback.record(pass, scoreBuffers.scores, 0, wanted.length * SCORE_BYTES);
  }

  #read(wanted: readonly Wanted[]): void {
    const bytes = this.#readback.read();
    const ids = new Uint32Array(bytes);
    const logprobs = new Float32Array(bytes);
    wanted.forEach(({ index, scores }, place) => {
      const at = place * SCORE_BYTES / 4;
      const score: TokenScore = { logprob: logprobs[at + 1], top: [] };
      for (let i = at + 2; i <= at + 2 * Math.min(scores.top, MAX_LOGPROBS); i += 2) {
        if (ids[i] !== SAMPLED) score.top.push({ id: ids[i], logprob: logprobs[i + 1] });
      }
      scores.set(index, score);
    });
  }
}

/** The tokens of prompts that follow positions of this step, where they are to be scored and are not yet. */
function promptTokens(batch: readonly StepRow[]): Wanted[] {
  const wanted: Wanted[] = [];
  // packStep lays rows of prompts first, in the order of the batch.
  let first = 0;
  for (const { tokens, position, scores, ids = [] } of batch) {
    if (scores?.prompt) {
      const end = Math.min(position + tokens.length, ids.length - 1);
      for (let at = Math.max(position, scores.next); at < end; at++) {
        wanted.push({ row: first + at - position, token: ids[at + 1], index: at + 1, scores });
      }
    }
    first += tokens.length;
  }
  return wanted;
}
