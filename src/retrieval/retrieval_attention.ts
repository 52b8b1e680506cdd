import type { KvContextShape } from "../../ffi/kv_context.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { StepPass } from "../gpu/pass.ts";
import { PAGE_TOKENS } from "../model/kv_cache.ts";
import type { DenseAttention, StepAttention } from "../model/step_attention.ts";
import type { StepShape, Transformer } from "../model/transformer.ts";
import { FRESH_TOKENS } from "./fresh_tokens.ts";
import { GpuSide } from "./gpu_side.ts";
import { IndexedPrefix } from "./indexed_prefix.ts";
import { KvSession } from "./kv_session.ts";
import { NativeSide } from "./native_side.ts";
import {
  budgetOf,
  crossoverTokens,
  NATIVE_CROSSOVER_TOKENS,
  type RetrievalPolicy,
  wantsRetrieval,
} from "./policy.ts";
import { emptyResult, type PlannedStep, type SampledRows } from "./planned_step.ts";
import { PrefixShelf } from "./prefix_shelf.ts";
import { sampled, sampleStride } from "./query_sample.ts";
import type { RetrievalLoad } from "./retrieval_load.ts";
import { retrievingLayers } from "./retrieving_layers.ts";
import type { RetrievalOptions } from "./retrieval_options.ts";
import { RetrievalTotals } from "./retrieval_totals.ts";
import { searchContexts } from "./search_contexts.ts";
import type { StepSide } from "./step_side.ts";
import type { VacantPages } from "./vacant_pages.ts";
import { coldEnd, type RowWindow, rowWindow, type WindowOptions, windowOptions } from "./window.ts";

/** What retrieval needs to know of one sequence's share of a step. */
export interface RetrievalRow {
  slot: number;
  /** Empty when the row decodes. */
  tokens: Uint32Array;
  position: number;
  pages: readonly number[];
  /** Tokens to read before the sequence decodes; dense when absent. */
  promptTokens?: number;
  decode: RetrievalPolicy;
}

/** Most bytes of queries taken from a step, all layers. */
const SAMPLE_BYTES = 16 * 2 ** 20;
/** Positions of a step whose queries are taken at most; fewer where `SAMPLE_BYTES` says so. */
const SAMPLE_ROWS = 128;
/** Pages moved in a step at most, so that a long prompt found in the prefix cache does not stall others: 4096 tokens. */
const PAGES_PER_STEP = 64;
/**
 * Pages before the window that a prompt's first reader leaves on the GPU: prompts that start alike and end in questions of about the same
 * length then share a prefix, even when the later one is 128 tokens shorter.
 */
const SLACK_PAGES = 2;
const TAIL_TOKENS = 512;
const IDLE_BYTES = 2 * 2 ** 30;
/** One step in so many reports the bound on the mass not computed, which costs as much again as the estimate does. */
const BOUND_INTERVAL = 32;

/**
 * Decoding over contexts whose middle lies in CPU memory (RetrievalAttention, Liu et al. 2024): per layer the GPU attends to a window of
 * the first and the latest tokens while the CPU searches and attends to the rest; the parts are merged by their log-masses.
 *
 * Use per step: `begin` with its rows, `record` the transformer with this as its attention if `begin` says so, `finish` once the step
 * was collected.
 */
export class RetrievalAttention implements StepAttention, AsyncDisposable {
  readonly #maxRows: number;
  readonly #window: WindowOptions;
  readonly #crossover: number;
  readonly #waitForIndex: boolean;
  readonly #contextShape: KvContextShape;
  /** By layer, which of a context's layers it is; layers with a sliding window have none. */
  readonly #places: ReadonlyMap<number, number>;
  readonly #side: StepSide;
  /** Rows of a step whose queries can be taken. */
  readonly #sampleRows: number;
  readonly #sessions = new Map<number, KvSession>();
  readonly #shelf: PrefixShelf<IndexedPrefix>;
  readonly #tailPages: number;
  readonly #fixed: boolean;
  /** Page tables of the sequences that read a prefix. */
  readonly #tables = new Map<IndexedPrefix, readonly number[]>();
  #vacant: VacantPages[] = [];
  #step: PlannedStep | undefined;
  readonly #totals: RetrievalTotals;
  #steps = 0;

  private constructor(
    maxRows: number,
    options: {
      window: WindowOptions;
      crossover: number;
      waitForIndex: boolean;
      tail: number;
      idleBytes: number;
      fixed: boolean;
      shape: KvContextShape;
    },
    layers: readonly number[],
    sampleRows: number,
    side: StepSide,
    totals: RetrievalTotals,
  ) {
    this.#side = side;
    this.#totals = totals;
    this.#maxRows = maxRows;
    this.#window = options.window;
    this.#crossover = options.crossover;
    this.#waitForIndex = options.waitForIndex;
    this.#contextShape = options.shape;
    this.#sampleRows = sampleRows;
    this.#places = new Map(layers.map((layer, place) => [layer, place]));
    this.#tailPages = Math.floor(options.tail / PAGE_TOKENS);
    this.#fixed = options.fixed;
    this.#shelf = new PrefixShelf(PAGE_TOKENS, options.idleBytes);
  }

  /**
   * Compiles kernels and allocates buffers. Needs the native library, and keys and values in half precision.
   * @throws {RangeError} for a window out of range.
   */
  static async open(
    gpu: Gpu,
    transformer: Transformer,
    options: RetrievalOptions = {},
  ): Promise<RetrievalAttention> {
    const wanted = windowOptions({
      ...(options.first === undefined ? {} : { first: options.first }),
      ...(options.last === undefined ? {} : { last: options.last }),
    });
    const { shape, buffers: { maxRows }, native, config } = transformer;
    // What layers with a sliding window see stays where they find it.
    const window = { ...wanted, last: Math.max(wanted.last, config.window?.tokens ?? 0) };
    const retrieving = retrievingLayers(transformer);
    const { heads, kvHeads, headDim, paddedHeadDim } = shape;
    const layers = retrieving.length;
    const sampleRows = Math.min(
      SAMPLE_ROWS,
      maxRows,
      Math.max(1, Math.floor(SAMPLE_BYTES / (layers * heads * paddedHeadDim * 4))),
    );
    // Queries come scaled for exp2; the CPU works with natural exponentials.
    const contextShape = {
      layers,
      kvHeads,
      heads,
      dim: headDim,
      stride: paddedHeadDim,
      scale: Math.LN2,
    };
    const totals = new RetrievalTotals();
    const search = searchContexts(contextShape, totals);
    const side = native
      ? new NativeSide(native, shape, contextShape, search, retrieving)
      : await GpuSide.open(gpu, transformer, contextShape, search, retrieving, sampleRows, options);
    return new RetrievalAttention(
      maxRows,
      {
        window,
        crossover: options.crossover ??
          (native ? NATIVE_CROSSOVER_TOKENS : crossoverTokens[gpu.adapterClass]),
        waitForIndex: options.waitForIndex ?? false,
        tail: options.tail ?? TAIL_TOKENS,
        idleBytes: options.idleBytes ?? IDLE_BYTES,
        fixed: options.fixed ?? false,
        shape: contextShape,
      },
      retrieving,
      sampleRows,
      side,
      totals,
    );
  }

  /**
   * Plans a step; undefined when dense attention does all of it.
   * @returns the windows of rows that retrieve, which are to be the step's last rows in the batch's order
   */
  begin(rows: readonly RetrievalRow[]): ReadonlyMap<RetrievalRow, RowWindow> | undefined {
    this.#side.begin(this.#steps);
    const windows = new Map<RetrievalRow, RowWindow>();
    const retrieving: KvSession[] = [];
    const samples: SampledRows[] = [];
    let at = 0;
    let room = this.#sampleRows;
    this.#shelf.write(rows);
    for (const row of rows) {
      const count = row.tokens.length;
      const session = this.#sessions.get(row.slot) ?? this.#admit(row);
      const state = session?.prefix.state;
      if (session?.leads && state === "reading" && count > 0) {
        // Many short chunks may round up to a few rows more than there is room for.
        const chosen = sampled(row.position, count, session.stride).slice(0, room);
        if (chosen.length > 0) samples.push({ session, rows: chosen.map((i) => at + i) });
        room -= chosen.length;
      }
      if (session && state === "ready" && count === 0) {
        const { firstPages, end } = session.prefix;
        windows.set(row, rowWindow(row.pages, row.position, firstPages, end));
        retrieving.push(session);
      }
      at += count;
    }
    const active = retrieving.length + samples.length > 0;
    const { heads } = this.#contextShape;
    this.#step = active
      ? {
        retrieving,
        samples,
        keysHeld: retrieving.reduce((sum, session) => sum + session.prefix.tokens, 0) * heads,
        result: emptyResult(this.#contextShape, retrieving.length),
        bound: this.#steps % BOUND_INTERVAL === 0,
      }
      : undefined;
    return active ? windows : undefined;
  }

  /** The rows that kernels of the window read: to be written at the places of the step's decoding rows. Undefined where there are no such kernels. */
  get windowRows(): GPUBuffer | undefined {
    return this.#side.windowRows;
  }

  attend(pass: StepPass, layer: number, step: StepShape, dense: DenseAttention): StepPass {
    const planned = this.#step;
    if (!planned) throw new Error("attend: no step was begun");
    const place = this.#places.get(layer);
    if (place !== undefined) this.#side.sample(pass, { layer, place }, planned.samples, step);
    if (planned.retrieving.length === 0 || place === undefined) {
      dense.record(pass, step);
      return pass;
    }
    return this.#side.attend(pass, { layer, place }, step, dense, planned);
  }

  complete(): void {
    if (this.#step) this.#side.complete(this.#step);
  }

  /** Takes what the step begun last has left on the GPU: sampled queries, and pages that have left the window. Blocks. */
  finish(rows: readonly RetrievalRow[]): void {
    const step = this.#step;
    this.#step = undefined;
    if (step) {
      this.#side.takeSamples(step.samples);
      if (step.retrieving.length > 0) this.#steps++;
    }
    for (const row of rows) {
      const session = this.#sessions.get(row.slot);
      if (session) this.#advance(session, row);
    }
  }

  /** An empty prefix of `tokens` tokens, a multiple of 64, whose context the caller fills and builds: from a file, or made. */
  openPrefix(tokens: number): IndexedPrefix {
    const first = this.#window.first / PAGE_TOKENS;
    const count = tokens / PAGE_TOKENS;
    const prefix = new IndexedPrefix(this.#contextShape, first, first + count, this.#fixed);
    prefix.pages.push(...Array.from({ length: count }, () => ({ page: -1, writes: 0 })));
    return prefix;
  }

  /** Lets the sequence of a slot, which has read `promptTokens`, decode over a prefix of the caller's, which is built. */
  adopt(slot: number, prefix: IndexedPrefix, promptTokens: number, decode: RetrievalPolicy): void {
    this.#shelf.take(prefix);
    this.#sessions.set(slot, new KvSession(slot, prefix, budgetOf(decode), promptTokens, 0));
  }

  /** Forgets the sequence of a slot. Its prefix stays in CPU memory while others use it, or may. */
  leave(slot: number): void {
    const session = this.#sessions.get(slot);
    session?.takeRest(this.#side, this.#shelf, this.#waitForIndex);
    this.#forget(slot);
  }

  /** Tokens at the end of a prompt to be computed though cached: an index is built from a prompt's own queries, unless these pages have one. */
  freshTokens(decode: RetrievalPolicy, pages: readonly number[], promptTokens: number): number {
    if (!wantsRetrieval(decode, promptTokens, this.#crossover)) return 1;
    const known = Math.min(coldEnd(promptTokens, this.#window), pages.length);
    // The window sees all there is.
    if (known <= this.#window.first / PAGE_TOKENS) return 1;
    const found = this.#shelf.find(pages, known, (prefix) => this.#tables.get(prefix));
    return found ? 1 : FRESH_TOKENS;
  }

  /** Pages that became vacant since the last call. */
  takeVacant(): VacantPages[] {
    const vacant = this.#vacant;
    this.#vacant = [];
    return vacant;
  }

  /** A snapshot. */
  get load(): RetrievalLoad {
    const sessions = [...this.#sessions.values()];
    const prefixes = [...this.#shelf.prefixes];
    const bytes = (some: readonly IndexedPrefix[]) =>
      some.reduce((sum, { context }) => sum + context.bytes, 0);
    return {
      ready: sessions.filter(({ prefix }) => prefix.state === "ready").length,
      building: prefixes.filter(({ state }) => state === "building").length,
      cpuBytes: bytes(prefixes),
      idleBytes: bytes(prefixes.filter(({ owners }) => owners === 0)),
      shared: sessions.filter(({ leads }) => !leads).length,
      ...this.#totals.snapshot,
    };
  }

  /** Frees everything, after the layers whose indexes are being built. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const slot of [...this.#sessions.keys()]) this.#forget(slot);
    await this.#shelf.close();
    this.#side[Symbol.dispose]();
  }

  #forget(slot: number): void {
    const session = this.#sessions.get(slot);
    if (!session) return;
    const { prefix } = session;
    this.#sessions.delete(slot);
    this.#vacant = this.#vacant.filter((pages) => pages.slot !== slot);
    this.#tables.delete(prefix);
    // Others may have counted on what it was reading.
    if (session.leads && prefix.state === "reading") prefix.state = "failed";
    this.#shelf.give(prefix);
  }

  /** A session for a sequence that starts to read its prompt, if it is to decode by retrieval. */
  #admit(row: RetrievalRow): KvSession | undefined {
    const { promptTokens, decode, tokens, position } = row;
    if (promptTokens === undefined || tokens.length === 0) return undefined;
    if (!wantsRetrieval(decode, promptTokens, this.#crossover)) return undefined;
    const firstPages = this.#window.first / PAGE_TOKENS;
    const cold = coldEnd(promptTokens, this.#window);
    // The window sees all there is.
    if (cold <= firstPages) return undefined;
    const known = Math.min(cold, Math.floor(position / PAGE_TOKENS));
    const found = this.#shelf.find(row.pages, known, (prefix) => this.#tables.get(prefix));
    const session = found
      ? new KvSession(row.slot, found, budgetOf(decode), promptTokens, 0)
      : this.#lead(row, promptTokens, firstPages, cold);
    if (!session) return undefined;
    this.#shelf.take(session.prefix);
    this.#sessions.set(row.slot, session);
    return session;
  }

  /** A session that reads a prefix of its own. */
  #lead(
    row: RetrievalRow,
    promptTokens: number,
    firstPages: number,
    cold: number,
  ): KvSession | undefined {
    const fresh = promptTokens - row.position;
    // Fewer queries would make a poor index: so it is when the cache held nearly all of a prompt.
    if (fresh < Math.min(FRESH_TOKENS, promptTokens)) return undefined;
    const { heads, kvHeads } = this.#contextShape;
    const stride = sampleStride(
      fresh,
      heads / kvHeads,
      this.#sampleRows / this.#maxRows,
    );
    // Others find no more of it in the cache than this, since the end of their prompts is computed again.
    const findable = coldEnd(promptTokens, { ...this.#window, last: FRESH_TOKENS });
    const goal = this.#tailPages < SLACK_PAGES
      ? cold
      : Math.max(firstPages + 1, Math.min(cold, findable) - SLACK_PAGES);
    const prefix = new IndexedPrefix(this.#contextShape, firstPages, goal, this.#fixed);
    this.#tables.set(prefix, row.pages);
    return new KvSession(row.slot, prefix, budgetOf(row.decode), promptTokens, stride);
  }

  /** Moves what can go to the CPU, and goes from reading to building, after a step in which the sequence had `row`. */
  #advance(session: KvSession, row: RetrievalRow): void {
    const { prefix } = session;
    const computed = row.position + Math.max(1, row.tokens.length);
    if (prefix.state === "reading") {
      if (!session.leads) return;
      this.#tables.set(prefix, row.pages);
      this.#take(prefix, row, Math.min(prefix.goal, Math.floor(computed / PAGE_TOKENS)));
      if (computed < session.promptTokens) return;
      const rest = row.pages.slice(prefix.end, prefix.goal);
      session.rest = rest.map((page) => this.#shelf.written(page));
      if (rest.length > 0) return;
      this.#tables.delete(prefix);
      prefix.build(this.#waitForIndex);
      return;
    }
    if (prefix.state !== "ready" || computed < session.promptTokens) return;
    // What is more than a tail goes too, if that changes it for no other sequence.
    const cold = coldEnd(computed, this.#window);
    if (prefix.owners === 1 && cold > prefix.end + this.#tailPages) this.#take(prefix, row, cold);
    // Asked again now and then: nothing is given back while another sequence goes on from these pages.
    if (prefix.end > session.vacated || computed % PAGE_TOKENS === 0) {
      this.#vacant.push({ slot: session.slot, from: prefix.firstPages, to: prefix.end });
      session.vacated = prefix.end;
    }
  }

  /** Moves pages of `row` up to `goal`, a part in each step. */
  #take(prefix: IndexedPrefix, row: RetrievalRow, goal: number): void {
    const pages = row.pages.slice(prefix.end, Math.min(goal, prefix.end + PAGES_PER_STEP));
    if (pages.length === 0) return;
    this.#side.move(pages, prefix.context);
    prefix.pages.push(...pages.map((page) => this.#shelf.written(page)));
  }
}
