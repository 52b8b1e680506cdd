/** Weight of the latest decode step in the running mean of what one takes. */
const NEWEST = 0.25;

/**
 * How much throughput work may read of its prompts while latency work decodes: as much as takes, beside the decode
 * step that it rides on, half of the time. On a device whose steps wait for their weights a chunk of a prompt costs
 * next to nothing and is never held back; on a processor a step with 128 prompt tokens takes as long as some ten
 * decode steps, and ten decode steps follow it. No time is lost: those are steps that the latency work needs anyway.
 *
 * Simulated with the constants of `sparrow-tiny` on 2 cores, six chats among three map-reduce jobs: without this rule,
 * completions take 4.88 s in the mean (chats 43 ms a token, jobs 4.6 s), with it 4.55 s (34 ms, 5.0 s). Twice as many
 * decode steps would make it 4.30 s, but jobs 6.1 s and the last answer of all later; half as many, 4.70 s.
 *
 * Pure: it is told when steps begin, in milliseconds.
 */
export class PrefillPace {
  /** Milliseconds that prompts of throughput work have taken from decoding latency work. */
  #debt = 0;
  /** What a step takes that only decodes, in milliseconds; undefined before the first. */
  #decodeMs: number | undefined;
  #last: { begin: number; kind: StepKind } | undefined;

  /**
   * Whether prompts of throughput work must sit out the step that begins at `now`.
   *
   * @param latencyDecodes whether latency work decodes in this step
   */
  hold(now: number, latencyDecodes: boolean): boolean {
    this.#account(now);
    if (!latencyDecodes) this.#debt = 0;
    return this.#debt > 0 && this.#debt >= (this.#decodeMs ?? 0);
  }

  /** Notes what the step that begins at `now` consists of. */
  began(now: number, kind: StepKind): void {
    this.#last = { begin: now, kind };
  }

  /** Forgets the step under way: what follows it is not its time. */
  idle(): void {
    this.#last = undefined;
    this.#debt = 0;
  }

  #account(now: number): void {
    const last = this.#last;
    if (!last) return;
    this.#last = undefined;
    const ms = Math.max(0, now - last.begin);
    if (last.kind === "decode") {
      this.#decodeMs = this.#decodeMs === undefined
        ? ms
        : this.#decodeMs + NEWEST * (ms - this.#decodeMs);
      this.#debt = Math.max(0, this.#debt - ms);
    } else if (last.kind === "throughput_prompts") {
      this.#debt += Math.max(0, ms - (this.#decodeMs ?? 0));
    }
  }
}

/** Of what a step consists: of decoding rows alone, of those and prompts of throughput work, or with prompts of latency work. */
export type StepKind = "decode" | "throughput_prompts" | "latency_prompts";
