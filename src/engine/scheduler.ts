import { CapacityError } from "../common/errors.ts";
import { BlockManager, type CachedPrefix } from "./block_manager.ts";
import { FairTurns } from "./fair_turns.ts";
import { mayWait } from "./may_wait.ts";
import { follow, isFollowing, urgency } from "./prefix_following.ts";
import { matchPrefix } from "./match_prefix.ts";
import type { VacantPages } from "../retrieval/vacant_pages.ts";
import { PrefillPace, type StepKind } from "./prefill_pace.ts";
import { RetryEstimate } from "./retry_estimate.ts";
import { schedulerDefaults, type SchedulerOptions } from "./scheduler_options.ts";
import { bySeniority, isPressing, type Sequence, unreadEnd } from "./sequence.ts";
import { type Reader, withShortPrompts } from "./short_prompts.ts";
import { NOT_FINITE, PAGE_TOKENS, type StepBatch, type StepLimits, type StepRow } from "./step.ts";
import { WaitingQueue } from "./waiting_queue.ts";

/** What a collected step says of one sequence. `token` is absent when a prompt of `maxTokens: 0` is computed. */
export interface StepResult {
  sequence: Sequence;
  token?: number;
  /** There was no token to sample: the logits were not finite. */
  faulty?: true;
}

/**
 * Continuous batching: which sequences take part in the next step, and with which tokens. A step holds a row for
 * every decoding sequence and fills the rest of its token budget with chunks of prompts. When pages run out the
 * least senior sequence gives its pages up and waits again; what it generated is kept, and what the cache still
 * holds of it is not computed twice. A sequence whose prompt starts like one being computed waits for its pages.
 *
 * Pure: no clock, no device, no events. The caller submits every batch that `schedule` returns before the next
 * call, and gives the sampled tokens of the oldest one to `collect`.
 */
export class Scheduler {
  readonly options: SchedulerOptions;
  #limits: StepLimits;
  #blocks: BlockManager;
  readonly #waiting: WaitingQueue;
  /** Running and leaving sequences, most senior first. */
  #resident: Sequence[] = [];
  #slots: number[];
  #inFlight: InFlightRow[][] = [];
  /** Sequences that took part in steps submitted since their pages were last indexed. */
  #stepped: Sequence[] = [];
  #admitted: Sequence[] = [];
  /** Slots whose sequences have left since the last call of `takeLeft`. */
  #left: number[] = [];
  #arrivals = 0;
  readonly #turns = { latency: new FairTurns(), throughput: new FairTurns() };
  /** Where round-robin among capped throughput rows starts. */
  #turn = 0;
  readonly #retry = new RetryEstimate();
  readonly #pace = new PrefillPace();
  #preemptions = 0;
  #steps = 0;

  constructor(limits: StepLimits, options: Partial<SchedulerOptions> = {}) {
    if (limits.maxBatchTokens <= limits.maxSequences) {
      throw new RangeError(
        `maxBatchTokens is ${limits.maxBatchTokens}, expected more than the ${limits.maxSequences} sequences ` +
          "that may decode in a step, so that prompts go on",
      );
    }
    this.options = { ...schedulerDefaults, ...options };
    this.#limits = limits;
    this.#blocks = new BlockManager(limits.pagesTotal);
    this.#slots = slots(limits);
    this.#waiting = new WaitingQueue(this.options);
  }

  get blocks(): BlockManager {
    return this.#blocks;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Sequences that hold pages. */
  get running(): number {
    return this.#resident.length;
  }

  /** Steps submitted and not collected. */
  get stepsInFlight(): number {
    return this.#inFlight.length;
  }

  get preemptions(): number {
    return this.#preemptions;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Longest sequence that can ever run, prompt and generated tokens together. */
  get contextLength(): number {
    return Math.min(this.#limits.contextLength, this.#limits.pagesTotal * PAGE_TOKENS);
  }

  /** Throws the `CapacityError` that `add` would throw now for a sequence of `scope`. */
  checkCapacity(scope = ""): void {
    // Pre-empted sequences wait too, but were let in before.
    const scopes = [...this.#waiting].filter((one) => one.cachedTokens < 0).map((one) => one.scope);
    if (mayWait(scopes, scope, this.options.maxWaiting)) return;
    throw new CapacityError(
      `${scopes.length} requests are waiting, at most ${this.options.maxWaiting} may`,
      this.#retry.seconds(scopes.length),
    );
  }

  /** Throws `RangeError` for a sequence that could never run to its end. */
  checkLength({ promptTokens, maxTokens }: Sequence): void {
    if (promptTokens + maxTokens <= this.contextLength) return;
    throw new RangeError(
      `prompt of ${promptTokens} tokens and ${maxTokens} to generate exceed the context of ` +
        `${this.contextLength}`,
    );
  }

  /** Queues `sequence`. Throws `CapacityError` when the queue is full, `RangeError` when the prompt cannot fit, `TypeError` for an empty one. */
  add(sequence: Sequence, now: number): void {
    if (sequence.promptTokens === 0) {
      throw new TypeError("prompt has 0 tokens, expected at least 1");
    }
    this.checkLength(sequence);
    this.checkCapacity(sequence.scope);
    sequence.arrival = this.#arrivals++;
    sequence.turn = this.#turnsOf(sequence).take(sequence.scope);
    sequence.submittedAt = now;
    this.#waiting.add(sequence);
  }

  /** Ends `sequence` wherever it is: finished and cancelled are the same here. Idempotent. */
  finish(sequence: Sequence, now: number): void {
    if (sequence.state === "gone" || (sequence.state === "leaving" && !sequence.requeue)) return;
    if (sequence.state === "waiting") {
      this.#waiting.remove(sequence);
      sequence.state = "gone";
      sequence.leader = undefined;
    } else {
      sequence.state = "leaving";
      sequence.requeue = false;
      if (sequence.inFlight === 0) this.#leave(sequence);
    }
    this.#retry.finished(now);
  }

  /**
   * The next step, which the caller must submit before it calls again; undefined when there is nothing to do before
   * the steps in flight are collected. `now` is in milliseconds.
   */
  schedule(now: number): StepBatch | undefined {
    this.#settle();
    const rows: StepRow[] = [];
    const record: InFlightRow[] = [];
    const put = (sequence: Sequence, tokens: number) => {
      const row = this.#row(sequence, tokens);
      rows.push(row);
      record.push({ sequence, sample: row.sample });
    };

    for (const sequence of this.#decodable()) if (this.#grow(sequence)) put(sequence, 0);
    let budget = this.#limits.maxBatchTokens - rows.length;
    const latencyDecodes = record.some(({ sequence }) => sequence.latency);
    if (rows.length > 0) {
      const mixed = this.options.mixedStepTokens ?? this.#limits.mixedStepTokens ?? 128;
      // Nobody watches throughput work decode, but its tokens have to come too, and in a step with prompts they cost least.
      const most = latencyDecodes ? mixed : 2 * mixed;
      budget = Math.min(budget, Math.max(Math.ceil(mixed / 2), most - rows.length));
    }
    const overdue = this.#waiting.overdue(now);
    const hold = this.#pace.hold(now, latencyDecodes);
    const earliest = hold === "none" ? Infinity : hold === "all" ? -Infinity : this.#earliest();
    let kind: StepKind = "decode";
    let admitting = true;
    for (const { sequence, most } of this.#readers(overdue, budget)) {
      if (budget <= 0) break;
      const first = sequence === overdue || isPressing(urgency(sequence));
      if (!first && sequence.priority > earliest) continue;
      if (sequence.state === "waiting" && admitting && !isFollowing(sequence)) {
        const prefix = matchPrefix(this.#blocks, sequence, this.#limits);
        if (follow(sequence, prefix.tokens, this.#resident)) continue;
        // No other may overtake the first that finds no room, or a large one would never find it.
        if (!this.#canAdmit(sequence, prefix)) this.#makeRoom(sequence, prefix);
        admitting = this.#canAdmit(sequence, prefix);
        if (admitting) this.#admit(sequence, prefix, sequence === overdue);
      }
      if (sequence.state !== "running") continue;
      const tokens = Math.min(budget, most, sequence.prefillEnd - sequence.computed);
      sequence.prefillEnd -= unreadEnd(sequence, tokens);
      put(sequence, tokens);
      budget -= tokens;
      if (first) kind = "latency_prompts";
      else if (kind === "decode") kind = "throughput_prompts";
    }

    if (rows.length === 0) {
      this.#pace.idle();
      return undefined;
    }
    this.#pace.began(now, kind);
    this.#inFlight.push(record);
    this.#stepped.push(...record.map((row) => row.sequence));
    this.#steps++;
    return { rows, copies: this.#blocks.takeCopies() };
  }

  /** The sequences that got pages for the first time since the last call. */
  takeAdmitted(): Sequence[] {
    const admitted = this.#admitted;
    this.#admitted = [];
    return admitted;
  }

  /** The slots whose sequences have left since the last call; to be told to the runner before it gets another step. */
  takeLeft(): number[] {
    const left = this.#left;
    this.#left = [];
    return left;
  }

  /** Gives back pages from the middle of the sequence in a slot, which its runner no longer reads. No step may be in flight. */
  vacate({ slot, from, to }: VacantPages): void {
    const sequence = this.#resident.find((sequence) => sequence.slot === slot);
    if (sequence?.state === "running") {
      this.#blocks.vacate(sequence.table!, sequence.ids, from, to);
    }
  }

  /**
   * Takes the tokens sampled by the oldest step in flight, one per row, and returns what became known. Tokens of
   * sequences that have finished meanwhile are discarded.
   */
  collect(tokens: ArrayLike<number>): StepResult[] {
    const record = this.#inFlight.shift();
    if (!record) throw new RangeError("collect: no step is in flight");
    if (tokens.length !== record.length) {
      throw new RangeError(
        `collect: ${tokens.length} tokens, expected one for each of ${record.length} rows`,
      );
    }
    const results: StepResult[] = [];
    record.forEach(({ sequence, sample }, i) => {
      sequence.inFlight--;
      if (sequence.state === "leaving" && !sequence.requeue) {
        if (sequence.inFlight === 0) this.#leave(sequence);
      } else if (sample && tokens[i] === NOT_FINITE) {
        results.push({ sequence, faulty: true });
      } else if (sample) {
        sequence.ids.push(tokens[i]);
        results.push({ sequence, token: tokens[i] });
      } else if (sequence.maxTokens === 0 && !sequence.prefilling && sequence.inFlight === 0) {
        results.push({ sequence });
      }
    });
    return results;
  }

  /**
   * Forgets every page and step, as after the loss of the device, and goes on with `limits`. Returns the sequences
   * that were resident, which are gone; waiting ones still wait.
   */
  reset(limits: StepLimits = this.#limits): Sequence[] {
    const lost = this.#resident;
    for (const sequence of lost) {
      sequence.state = "gone";
      sequence.table = undefined;
      sequence.inFlight = 0;
    }
    this.#limits = limits;
    this.#blocks = new BlockManager(limits.pagesTotal);
    this.#slots = slots(limits);
    this.#resident = [];
    this.#inFlight = [];
    this.#stepped = [];
    this.#admitted = [];
    this.#left = [];
    return lost;
  }

  /** Checks the books of pages and slots; returns what is wrong. */
  check(): string[] {
    const problems = this.#blocks.check(this.#resident.map((sequence) => sequence.table!));
    const seen = new Set([...this.#slots, ...this.#resident.map((sequence) => sequence.slot)]);
    const total = this.#slots.length + this.#resident.length;
    if (seen.size !== this.#limits.maxSequences || total !== seen.size) {
      problems.push(`${seen.size} slots in ${total} places, expected ${this.#limits.maxSequences}`);
    }
    return problems;
  }

  /** Lets those go whose last step was collected, and shares the pages that submitted steps have written. */
  #settle(): void {
    for (const sequence of [...this.#resident]) {
      if (sequence.state === "leaving" && sequence.inFlight === 0) this.#leave(sequence);
    }
    for (const sequence of this.#stepped) {
      if (!sequence.table || !sequence.shares) continue;
      const ids = sequence.ids;
      if (!sequence.prefilling && sequence.shared < sequence.prefillEnd) {
        this.#blocks.index(sequence.table, ids, sequence.prefillEnd, true);
        sequence.shared = sequence.prefillEnd;
      }
      this.#blocks.index(sequence.table, ids, sequence.known);
      sequence.shared = Math.max(sequence.shared, sequence.table.indexed * PAGE_TOKENS);
    }
    this.#stepped = [];
  }

  /** Sequences whose next token can be sampled now, in order of seniority. */
  #decodable(): Sequence[] {
    const all = this.#resident.filter((sequence) => sequence.decodable);
    if (!this.#latencyResident) return all;
    const latency = all.filter((sequence) => sequence.latency);
    const rest = all.filter((sequence) => !sequence.latency);
    const room = Math.max(1, this.options.latencyRows - latency.length);
    if (rest.length <= room) return all;
    const start = this.#turn % rest.length;
    this.#turn = start + room;
    return [...latency, ...[...rest, ...rest].slice(start, start + room)];
  }

  /** The smallest priority number of throughput work that decodes. */
  #earliest(): number {
    let earliest = Infinity;
    for (const { state, prefilling, latency, priority } of this.#resident) {
      if (state === "running" && !prefilling && !latency) earliest = Math.min(earliest, priority);
    }
    return earliest;
  }

  get #latencyResident(): boolean {
    return this.#resident.some((sequence) => sequence.state === "running" && sequence.latency);
  }

  /**
   * Sequences with a prompt to read, resident or waiting, in the order in which they get the step's tokens: first
   * the overdue one whose turn it is, then by their own or their followers' seniority, but for short ones behind a long one.
   */
  #readers(overdue: Sequence | undefined, budget: number): Reader[] {
    const readers = this.#resident
      .filter((sequence) => sequence.state === "running" && sequence.prefilling)
      .concat([...this.#waiting])
      .sort((a, b) => {
        if (a === overdue || b === overdue) return a === overdue ? -1 : 1;
        return bySeniority(urgency(a), urgency(b));
      });
    const match = (sequence: Sequence) => matchPrefix(this.#blocks, sequence, this.#limits);
    return withShortPrompts(readers, budget, match);
  }

  /** Makes room for one more position of `sequence`; false when it must sit this step out. */
  #grow(sequence: Sequence): boolean {
    while (sequence.state === "running") {
      if (this.#blocks.canExtend(sequence.table!, sequence.computed + 1)) {
        this.#blocks.extend(sequence.table!, sequence.computed + 1);
        return true;
      }
      if (this.#resident.some((other) => other.state === "leaving")) return false;
      this.#preempt(this.#resident.at(-1)!);
    }
    return false;
  }

  /**
   * Room for the prompt, and a page for each resident sequence to grow into, so that admitting one does not soon push
   * another out. Measured with 150 requests of 50-550 tokens each way on 64 pages: with 0, 0.5, 1, 2 pages kept for
   * each resident, 25, 13, 8, 3 % of the tokens are computed twice, and the whole takes 77, 74, 74, 76 s.
   */
  #canAdmit(sequence: Sequence, prefix: CachedPrefix): boolean {
    if (this.#slots.length === 0) return false;
    const resident = this.#resident.length;
    if (!sequence.latency && this.#latencyResident && resident >= this.options.latencyRows) {
      return false;
    }
    return this.#blocks.pagesNeeded(prefix, sequence.ids.length) + resident <=
      this.#blocks.pagesAvailable;
  }

  #admit(sequence: Sequence, prefix: CachedPrefix, overdue: boolean): void {
    this.#waiting.admit(sequence, overdue);
    this.#turnsOf(sequence).came(sequence.turn);
    sequence.overdue ||= overdue;
    sequence.table = this.#blocks.allocate(prefix, sequence.ids.length);
    sequence.state = "running";
    sequence.slot = this.#slots.pop()!;
    sequence.computed = sequence.table.cachedTokens;
    sequence.prefillEnd = sequence.ids.length;
    sequence.shared = sequence.table.indexed * PAGE_TOKENS;
    if (sequence.cachedTokens < 0) {
      sequence.cachedTokens = sequence.table.cachedTokens;
      this.#admitted.push(sequence);
    }
    this.#resident.push(sequence);
    this.#resident.sort(bySeniority);
  }

  #turnsOf({ latency }: Sequence): FairTurns {
    return latency ? this.#turns.latency : this.#turns.throughput;
  }

  /** Puts throughput work back, least senior first, if that lets latency work in. */
  #makeRoom(sequence: Sequence, prefix: CachedPrefix): void {
    if (!sequence.latency || this.#resident.some((other) => other.state === "leaving")) return;
    let missing = this.#blocks.pagesNeeded(prefix, sequence.ids.length) + this.#resident.length -
      this.#blocks.pagesAvailable;
    const victims: Sequence[] = [];
    const freed = this.#blocks.releasable(prefix);
    for (const other of this.#resident.toReversed()) {
      if (missing <= 0 && this.#slots.length + victims.length > 0) break;
      if (other.latency || other.overdue) continue;
      victims.push(other);
      // And the page that was kept for it to grow into.
      missing -= freed(other.table!) + 1;
    }
    if (missing <= 0) { for (const victim of victims) this.#preempt(victim); }
  }

  #preempt(sequence: Sequence): void {
    this.#preemptions++;
    sequence.state = "leaving";
    sequence.requeue = true;
    if (sequence.inFlight === 0) this.#leave(sequence);
  }

  #leave(sequence: Sequence): void {
    if (sequence.faulty || !sequence.shares) this.#blocks.discard(sequence.table!);
    else this.#blocks.release(sequence.table!, sequence.ids, sequence.known);
    sequence.table = undefined;
    this.#slots.push(sequence.slot);
    this.#left.push(sequence.slot);
    this.#resident.splice(this.#resident.indexOf(sequence), 1);
    if (this.#resident.length === 0) this.#pace.idle();
    sequence.slot = -1;
    sequence.computed = 0;
    sequence.prefillEnd = 0;
    sequence.shared = 0;
    if (sequence.requeue) {
      sequence.requeue = false;
      sequence.state = "waiting";
      this.#waiting.add(sequence);
    } else {
      sequence.state = "gone";
    }
  }

  /** The row of `sequence` in the step being put together: `tokens` of its prompt, or none to decode. */
  #row(sequence: Sequence, tokens: number): StepRow {
    const position = sequence.computed;
    const end = position + tokens;
    const sample = tokens === 0 || (end === sequence.prefillEnd && sequence.maxTokens > 0);
    const row: StepRow = {
      slot: sequence.slot,
      tokens: tokens === 0 ? none : Uint32Array.from(sequence.ids.slice(position, end)),
      position,
      pages: sequence.table!.pages,
      promptTokens: sequence.prefillEnd,
      sample,
      sampling: sequence.sampling,
      constraint: sequence.constraint,
      ids: sequence.ids,
      generatedFrom: sequence.promptTokens,
      sampleIndex: sequence.sampled,
      decode: sequence.decode,
      scores: sequence.scores,
      pooled: sequence.pooled,
    };
    sequence.computed += Math.max(1, tokens);
    if (sample) sequence.sampled++;
    sequence.inFlight++;
    return row;
  }
}

interface InFlightRow {
  sequence: Sequence;
  sample: boolean;
}

const none = new Uint32Array();
function slots(limits: StepLimits): number[] {
  return Array.from({ length: limits.maxSequences }, (_, i) => limits.maxSequences - 1 - i);
}
