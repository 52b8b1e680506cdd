/** Weight of the latest step in the running means. */
const NEWEST = 0.25;
/** Milliseconds between two tokens with which latency work is served well: 12 tokens a second, twice as fast as people read. */
const TARGET_MS = 80;
/** Milliseconds that reading can owe to decoding at most, unless one step took longer. */
const MOST_OWED = 1000;

/**
 * How much throughput work may read of its prompts while latency work decodes. On a device whose steps wait for their weights a chunk of a
 * prompt costs next to nothing and is never held back; on a processor a step with 128 prompt tokens takes as long as some ten decode steps.
 * No time is lost by holding it back: those are steps that the latency work needs anyway.
 *
 * Prompts are held back, down to half of the time, in two cases only. All of them, while latency work gets its tokens more slowly than
 * every `TARGET_MS`. And those with a larger priority number than throughput work that decodes: a job whose last step is under way ends
 * sooner by many steps, and the next one begins later by few.
 *
 * Simulated with the constants of `sparrow-tiny` on 2 cores (steps of 64 tokens), six chats among three map-reduce jobs, in milliseconds per
 * token of a chat and seconds per job. The same requests one by one, all alike: 32.0, 3.41. As here: 23.0, 3.27. All prompts held back to
 * half of the time: 20.9, 3.97; none ever: 28.5, 3.49. Against one by one, targets of 20, 40, 80 ms: chats 1.53, 1.38, 1.39 times as fast,
 * jobs 0.90, 1.02, 1.04. With 80 ms on machines of 0.8 to 3 times these times, at 0 and 250 ms to the client: chats 1.29 to 1.44, jobs
 * 0.99 to 1.06.
 *
 * Pure: it is told when steps begin, in milliseconds.
 */
export class PrefillPace {
  /** Milliseconds that prompts of throughput work have taken from decoding, less what it was given for them. */
  #owed = 0;
  /** What a step takes that only decodes, in milliseconds; undefined before the first. */
  #decodeMs: number | undefined;
  /** What a step of any kind takes, in milliseconds: the time between two tokens. */
  #tokenMs = 0;
  #last: { begin: number; kind: StepKind } | undefined;

  /**
   * Which prompts of throughput work must sit out the step that begins at `now`.
   *
   * @param latencyDecodes whether latency work decodes in this step
   */
  hold(now: number, latencyDecodes: boolean): Hold {
    this.#account(now);
    if (!latencyDecodes) this.#owed = this.#tokenMs = 0;
    if (this.#owed === 0 || this.#owed < (this.#decodeMs ?? 0)) return "none";
    return this.#tokenMs > TARGET_MS ? "all" : "later";
  }

  /** Notes what the step that begins at `now` consists of. */
  began(now: number, kind: StepKind): void {
    this.#last = { begin: now, kind };
  }

  /** Forgets the step under way: what follows it is not its time. */
  idle(): void {
    this.#last = undefined;
    this.#owed = this.#tokenMs = 0;
  }

  #account(now: number): void {
    const last = this.#last;
    if (!last) return;
    this.#last = undefined;
    const ms = Math.max(0, now - last.begin);
    this.#tokenMs += NEWEST * (ms - this.#tokenMs);
    if (last.kind === "decode") {
      this.#decodeMs ??= ms;
      this.#decodeMs += NEWEST * (ms - this.#decodeMs);
      this.#owed = Math.max(0, this.#owed - ms);
    } else if (last.kind === "throughput_prompts") {
      const taken = Math.max(0, ms - (this.#decodeMs ?? 0));
      this.#owed = Math.min(Math.max(MOST_OWED, taken), this.#owed + taken);
    }
  }
}

/** Of what a step consists: of decoding rows alone, of those and prompts of throughput work, or with prompts of latency work. */
export type StepKind = "decode" | "throughput_prompts" | "latency_prompts";

/** Which prompts of throughput work sit a step out: none, those with a larger priority number than throughput work that decodes, or all. */
export type Hold = "none" | "later" | "all";
