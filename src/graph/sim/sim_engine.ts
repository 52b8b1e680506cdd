import { type Hold, PrefillPace, type StepKind } from "../../engine/prefill_pace.ts";
import { LEAST_FILL_TOKENS } from "../../engine/sequence.ts";
import type { EngineLoad } from "../../engine/types.ts";
import type { Clock } from "../clock.ts";
import { type CostModel, stepMs } from "./cost_model.ts";
import { SIM_PAGE_TOKENS, SimPages } from "./sim_pages.ts";
import type { SimSequence } from "./sim_sequence.ts";
import { decode, pseudoToken } from "./sim_tokenizer.ts";

/** What one simulated engine can do. */
export interface SimEngineOptions {
  cost: CostModel;
  /** `none`: every prompt is filled whole. `pages`: prefixes are found in the cache (default). */
  sharing?: "none" | "pages";
  /**
   * How decode reads a prefix that several rows share: `each` row for itself (default), or `once` for all that share
   * it. `lca`: once, but only what is common to all rows of the step, as the paper's kernel does.
   */
  sharedAttention?: "each" | "once" | "lca";
  /** Tokens of a page, of which whole ones are shared. Default 64; 8 comes near an engine that shares a part of one by copying. */
  pageTokens?: number;
  /** Characters of a generated token, 2 to 4: vocabularies differ. Default 4, as in prompts. */
  generatedChars?: number;
  /** Tokens of all running sequences together: what bounds a batch beside memory. */
  admitTokens?: number;
}

interface Totals {
  promptTokens: number;
  cachedPromptTokens: number;
  generatedTokens: number;
  steps: number;
  /** Milliseconds of all steps. */
  busyMs: number;
}

/**
 * One engine with continuous batching and chunked prefill, run by a cost model instead of a device. Sequences are
 * admitted when their whole length fits, latency-critical ones first, then by priority, then in order of arrival.
 * While a latency-critical sequence decodes, bulk sequences share what `latencyTokens` leaves, in turn.
 */
export class SimEngine {
  readonly model: string;
  readonly options: SimEngineOptions;
  readonly pages: SimPages;
  readonly pageTokens: number;
  readonly totals: Totals = {
    promptTokens: 0,
    cachedPromptTokens: 0,
    generatedTokens: 0,
    steps: 0,
    busyMs: 0,
  };
  readonly #clock: Clock;
  readonly #cost: CostModel;
  readonly #waiting: SimSequence[] = [];
  readonly #running = new Set<SimSequence>();
  readonly #pace = new PrefillPace();
  #reserved = 0;
  #cancelStep: (() => void) | undefined;
  #stepping = false;
  #closed = false;

  constructor(model: string, clock: Clock, options: SimEngineOptions) {
    this.model = model;
    this.options = options;
    this.#clock = clock;
    this.#cost = options.cost;
    this.pageTokens = options.pageTokens ?? SIM_PAGE_TOKENS;
    this.pages = new SimPages(Math.floor(options.cost.kvTokens / this.pageTokens));
  }

  get load(): EngineLoad {
    return {
      model: this.model,
      state: "ready",
      waiting: this.#waiting.length,
      running: this.#running.size,
      pagesTotal: this.#wholePages(this.pages.total),
      pagesUsed: this.#wholePages(this.pages.used),
      pagesCached: this.#wholePages(this.pages.cached),
      promptTokens: this.totals.promptTokens,
      cachedPromptTokens: this.totals.cachedPromptTokens,
      generatedTokens: this.totals.generatedTokens,
      preemptions: 0,
      steps: this.totals.steps,
      restarts: 0,
      gpuBytes: 0,
      cpuBytes: 0,
    };
  }

  /** Loads count pages of the real engine's size. */
  #wholePages(pages: number): number {
    return Math.ceil(pages * this.pageTokens / SIM_PAGE_TOKENS);
  }

  submit(sequence: SimSequence): void {
    let low = 0;
    let high = this.#waiting.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (before(sequence, this.#waiting[middle])) high = middle;
      else low = middle + 1;
    }
    this.#waiting.splice(low, 0, sequence);
    this.#wake();
  }

  cancel(sequence: SimSequence): void {
    const index = this.#waiting.indexOf(sequence);
    if (index >= 0) this.#waiting.splice(index, 1);
    if (this.#running.has(sequence)) this.#leave(sequence);
    this.#finish(sequence, "cancelled");
  }

  /** Fails everything, as a lost device would. */
  crash(error: Error): void {
    for (const sequence of this.#waiting.splice(0)) sequence.fail(error);
    for (const sequence of [...this.#running]) {
      this.#leave(sequence);
      sequence.fail(error);
    }
    this.pages.clear();
  }

  close(): void {
    this.#closed = true;
    this.#cancelStep?.();
    for (const sequence of [...this.#waiting, ...this.#running]) this.cancel(sequence);
  }

  #wake(): void {
    if (this.#stepping || this.#closed) return;
    this.#stepping = true;
    // A turn of the clock later, so that what is submitted together is batched together.
    this.#cancelStep = this.#clock.after(0, () => this.#step());
  }

  #admit(): void {
    const { pageTokens } = this;
    for (let at = 0; at < this.#waiting.length;) {
      if (this.#running.size >= this.#cost.sequences) return;
      const next = this.#waiting[at];
      const share = this.options.sharing !== "none";
      // The last token of a prompt is always processed: its logits are needed.
      const most = Math.floor((next.prompt.length - 1) / pageTokens);
      const shared = share ? Math.min(this.pages.match(next.keys), most) : 0;
      if (share && this.#isFilling(next, shared, most)) {
        at++;
        continue;
      }
      const length = next.prompt.length + next.outputTokens;
      const own = Math.ceil(length / pageTokens) - shared;
      const tokens = length - shared * pageTokens;
      const full = this.#running.size > 0 &&
        this.#reserved + tokens > (this.options.admitTokens ?? Infinity);
      if (full || !this.pages.fits(next.keys, shared, own)) return;
      this.#waiting.splice(at, 1);
      next.shared = this.pages.take(next.keys, shared, own);
      next.ownPages = own;
      next.cached = next.filled = shared * pageTokens;
      next.published = shared;
      this.#reserved += tokens;
      this.#running.add(next);
      this.totals.promptTokens += next.prompt.length;
      this.totals.cachedPromptTokens += next.cached;
      next.emit({ type: "started", promptTokens: next.prompt.length, cachedTokens: next.cached });
    }
  }

  /** Whether another sequence is filling at least 64 tokens more of the prompt of `next` than the cache holds: as in the real engine, it waits. */
  #isFilling(next: SimSequence, cached: number, most: number): boolean {
    const worth = cached + Math.ceil(SIM_PAGE_TOKENS / this.pageTokens);
    if (worth > most) return false;
    for (const other of this.#running) {
      if (other.decoding || other.published >= worth) continue;
      if (other.keys.length >= worth && other.keys[worth - 1] === next.keys[worth - 1]) return true;
    }
    return false;
  }

  #step(): void {
    this.#admit();
    if (this.#running.size === 0 || this.#closed) {
      this.#stepping = false;
      this.#pace.idle();
      return;
    }
    const now = this.#clock.now();
    const rows = this.#decodeRows();
    const strict = [...this.#running].some((sequence) => sequence.latency);
    const latencyDecodes = rows.some((row) => row.latency);
    const hold = this.#pace.hold(now, latencyDecodes);
    const { batchTokens, mixedTokens = batchTokens } = this.#cost;
    const mixed = Math.min(batchTokens, latencyDecodes ? mixedTokens : 2 * mixedTokens);
    const most = rows.length === 0 ? batchTokens : mixed;
    const chunks = this.#prefillChunks(rows.length, most, strict, hold);
    this.#pace.began(now, stepKind(chunks));
    let prefill = 0;
    let prefillContext = 0;
    for (const [sequence, tokens] of chunks) {
      prefill += tokens;
      prefillContext += tokens * (sequence.filled + tokens / 2);
    }
    const kvRead = this.#kvRead(rows);
    const ms = stepMs(this.#cost, { prefill, prefillContext, rows: rows.length, kvRead });
    this.totals.steps++;
    this.totals.busyMs += ms;
    this.#cancelStep = this.#clock.after(ms, () => {
      for (const [sequence, tokens] of chunks) this.#filled(sequence, tokens);
      for (const row of rows) if (this.#running.has(row)) this.#token(row);
      this.#step();
    });
  }

  #decodeRows(): SimSequence[] {
    const rows = [...this.#running].filter((sequence) => sequence.decoding);
    if (!rows.some((row) => row.latency)) return rows;
    const chosen = rows.filter((row) => row.latency);
    let context = chosen.reduce((sum, row) => sum + row.context, 0);
    const bulk = rows.filter((row) => !row.latency).sort((a, b) => a.lastStep - b.lastStep);
    for (const row of bulk) {
      if (context + row.context > this.#cost.latencyTokens && chosen.length > 0) break;
      chosen.push(row);
      context += row.context;
    }
    for (const row of chosen) row.lastStep = this.totals.steps;
    return chosen;
  }

  #prefillChunks(
    rows: number,
    most: number,
    strict: boolean,
    hold: Hold,
  ): [SimSequence, number][] {
    let budget = most - rows;
    let bulkBudget = strict ? this.#cost.latencyPrefillTokens - rows : budget;
    const chunks: [SimSequence, number][] = [];
    const running = [...this.#running];
    const bulk = running.filter((sequence) => sequence.decoding && !sequence.latency);
    const earliest = hold === "all" ? -Infinity : Math.min(
      ...hold === "none" ? [] : bulk.map(priorityOf),
    );
    const filling = running.filter((sequence) =>
      !sequence.decoding && (sequence.latency || priorityOf(sequence) <= earliest)
    );
    filling.sort((a, b) => before(a, b) ? -1 : 1);
    for (const sequence of filling) {
      const left = sequence.latency ? budget : Math.min(budget, bulkBudget);
      if (left <= 0) break;
      const tokens = Math.min(left, sequence.promptEnd - sequence.filled);
      const rest = sequence.promptEnd - sequence.filled - tokens;
      if (this.#isLeft(sequence, rest)) sequence.promptEnd -= rest;
      chunks.push([sequence, tokens]);
      budget -= tokens;
      bulkBudget -= tokens;
    }
    return chunks;
  }

  /** Whether the last `rest` tokens of a prompt are left to whoever reads on, as the real scheduler does. */
  #isLeft({ request, latency }: SimSequence, rest: number): boolean {
    const tokens = rest * (this.#cost.measured?.promptTokens ?? 1);
    return request.maxTokens === 0 && !latency && tokens < LEAST_FILL_TOKENS;
  }

  #kvRead(rows: readonly SimSequence[]): number {
    const context = rows.reduce((sum, row) => sum + row.context, 0);
    const how = this.options.sharedAttention ?? "each";
    if (how === "each" || rows.length < 2) return context;
    if (how === "lca") {
      let common = Math.min(...rows.map((row) => row.shared.length));
      for (const row of rows) {
        while (common > 0 && row.shared[common - 1] !== rows[0].shared[common - 1]) common--;
      }
      return context - (rows.length - 1) * common * this.pageTokens;
    }
    let saved = 0;
    for (const row of rows) {
      for (const page of row.shared) {
        if (page.stamp === this.totals.steps) saved++;
        page.stamp = this.totals.steps;
      }
    }
    const tokens = saved * this.pageTokens;
    const { furtherRow, leastTokens } = this.#cost.sharedReads ?? { furtherRow: 0, leastTokens: 0 };
    return tokens < leastTokens ? context : context - tokens * (1 - furtherRow);
  }

  #filled(sequence: SimSequence, tokens: number): void {
    if (!this.#running.has(sequence)) return;
    sequence.filled += tokens;
    const pages = Math.floor(sequence.filled / this.pageTokens);
    if (this.options.sharing !== "none") {
      for (; sequence.published < pages; sequence.published++) {
        const page = this.pages.publish(sequence.keys[sequence.published]);
        if (!page) continue;
        sequence.shared.push(page);
        sequence.ownPages--;
      }
    }
    if (!sequence.decoding) return;
    if (sequence.request.maxTokens === 0) this.#done(sequence, "length");
    else this.#token(sequence);
  }

  #token(sequence: SimSequence): void {
    const index = sequence.generated.length;
    if (index === 0) sequence.firstTokenAt = this.#clock.now();
    if (sequence.answer && index >= sequence.answer.length) return this.#done(sequence, "stop");
    const id = sequence.answer?.[index] ??
      pseudoToken(sequence.seed, index, this.options.generatedChars);
    sequence.generated.push(id);
    this.totals.generatedTokens++;
    sequence.emit({ type: "delta", ids: [id], text: decode([id]) });
    if (sequence.generated.length >= sequence.outputTokens) {
      this.#done(sequence, sequence.answer?.length === sequence.outputTokens ? "stop" : "length");
    }
  }

  #done(sequence: SimSequence, reason: "stop" | "length"): void {
    this.#leave(sequence);
    this.#finish(sequence, reason);
  }

  #leave(sequence: SimSequence): void {
    this.#running.delete(sequence);
    this.#reserved -= sequence.prompt.length + sequence.outputTokens - sequence.cached;
    this.pages.release(sequence.shared, sequence.ownPages);
    sequence.shared = [];
    sequence.ownPages = 0;
  }

  #finish(sequence: SimSequence, reason: "stop" | "length" | "cancelled"): void {
    const now = this.#clock.now();
    const first = sequence.firstTokenAt;
    sequence.emit({
      type: "finished",
      reason,
      usage: {
        promptTokens: sequence.prompt.length,
        completionTokens: sequence.generated.length,
        cachedTokens: sequence.cached,
        ttftMs: sequence.generated.length > 0 ? first - sequence.arrived : 0,
        decodeMs: sequence.generated.length > 0 ? now - first : 0,
      },
    });
  }
}

function before(a: SimSequence, b: SimSequence): boolean {
  if (a.latency !== b.latency) return a.latency;
  const priority = priorityOf(a) - priorityOf(b);
  return priority !== 0 ? priority < 0 : a.arrived < b.arrived;
}

function priorityOf(sequence: SimSequence): number {
  return sequence.request.priority ?? 0;
}

function stepKind(chunks: readonly [SimSequence, number][]): StepKind {
  if (chunks.length === 0) return "decode";
  return chunks.some(([sequence]) => sequence.latency) ? "latency_prompts" : "throughput_prompts";
}
