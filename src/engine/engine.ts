import { asError } from "../common/as_error.ts";
import { DeviceLostError } from "../common/errors.ts";
import { log } from "../common/log.ts";
import { tooLong } from "../common/too_long.ts";
import type { ConstrainedText } from "../constraint/constrained_text.ts";
import { checkDecode } from "./check_decode.ts";
import { checkRequest } from "./check_request.ts";
import { checkLogprobs, checkSampling } from "./check_sampling.ts";
import { checkScheduler } from "./check_scheduler.ts";
import { ConstrainedStarts } from "./constrained_starts.ts";
import { GenerationStream } from "./generation_stream.ts";
import type { ModelOpener, OpenedModel } from "./opened_model.ts";
import { PooledText } from "./pooled_text.ts";
import { Preparation } from "./preparation.ts";
import { ActiveRequest, type GenerationListener } from "./request.ts";
import { Scheduler } from "./scheduler.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import { Sequence } from "./sequence.ts";
import { TokenScores } from "./token_scores.ts";
import type { DecodePolicy, EngineLoad, GenerateRequest, Generation, ModelInfo } from "./types.ts";
import { yieldToEventLoop } from "./yield_to_event_loop.ts";

/** Settings of an `Engine`. */
export interface EngineOptions {
  scheduler?: Partial<SchedulerOptions>;
  /** How requests decode that do not say. Default `auto`. */
  decode?: DecodePolicy;
  /** Milliseconds before each attempt to reopen a lost device; when all fail the engine has failed. */
  reopenDelaysMs?: number[];
  /** Called once events are out: after every step, and when a request's constraint was compiled or refused. */
  onStep?: () => void;
}

/** Milliseconds between two checks of the page books at idle moments. */
const CHECK_INTERVAL = 1000;

/**
 * Shortest time in milliseconds between two looks at the event loop. A look costs about 0.1 ms
 * (`yieldToEventLoop`), so at most 3 % of the time goes there, and a cancel is seen within 4 ms or one step.
 */
const LOOK_INTERVAL = 4;

/** Milliseconds after a failed step within which the event loop tells of the loss of the device that made it fail. */
const LOSS_NOTICE = 100;

/**
 * One model and its step loop, in whatever isolate it was opened: prompts become sequences, the scheduler's steps go
 * to the runner, and tokens come back as events. Steps block the isolate; between them the event loop gets its
 * turn. A lost device fails what was running; waiting requests go on once it is open again.
 */
export class Engine implements AsyncDisposable {
  readonly #open: ModelOpener;
  readonly #options: EngineOptions;
  readonly #scheduler: Scheduler;
  readonly #active = new Map<Sequence, ActiveRequest>();
  /** Those of which some of the prompt is still to be reported. */
  readonly #echoing = new Set<ActiveRequest>();
  /** Those of whose prompts is to be reported how much is read. */
  readonly #reading = new Set<ActiveRequest>();
  #model: OpenedModel;
  #preparation: Preparation;
  #state: EngineLoad["state"] = "ready";
  #closed = false;
  #runnerOpen = true;
  #wake: (() => void) | undefined;
  #lastCheck = -Infinity;
  #lastLook = performance.now();
  #totals = { promptTokens: 0, cachedPromptTokens: 0, generatedTokens: 0 };
  #constrained: ConstrainedStarts | undefined;
  readonly #loop: Promise<void>;

  /**
   * Opens the model and starts the loop. Rejects with `TypeError` for a decode policy that there is not, `RangeError` for scheduler options out of
   * range, and whatever `open` rejects with.
   */
  static async open(open: ModelOpener, options: EngineOptions = {}): Promise<Engine> {
    checkDecode(options.decode);
    checkScheduler(options.scheduler);
    return new Engine(open, await open(), options);
  }

  private constructor(open: ModelOpener, model: OpenedModel, options: EngineOptions) {
    this.#open = open;
    this.#model = model;
    this.#preparation = new Preparation(model.runner);
    this.#options = options;
    this.#scheduler = new Scheduler(model.runner, options.scheduler);
    this.#loop = this.#run();
  }

  get info(): ModelInfo {
    return { ...this.#model.info, contextLength: this.#scheduler.contextLength };
  }

  /** Queues a generation. Throws `CapacityError` when the queue is full; any other failure is the iterator's. */
  submit(request: GenerateRequest): Generation {
    let cancel = () => {};
    const stream = new GenerationStream(request.id, () => cancel());
    cancel = this.start(request, stream);
    return stream;
  }

  /**
   * Queues a generation whose events go to `listener`, and returns what cancels it. Throws `CapacityError` when the
   * queue is full; a bad prompt and a lost device reach the listener.
   */
  start(request: GenerateRequest, listener: GenerationListener): () => void {
    this.#scheduler.checkCapacity(request.cacheScope);
    if (!request.constraint || request.maxTokens === 0) return this.#start(request, listener);
    this.#constrained ??= new ConstrainedStarts(
      this.#model.codec,
      (...request) => this.#start(...request),
      () => this.#options.onStep?.(),
    );
    return this.#constrained.start(request, listener);
  }

  #start(
    request: GenerateRequest,
    listener: GenerationListener,
    constraint?: ConstrainedText,
  ): () => void {
    let active: ActiveRequest;
    try {
      active = this.#admit(request, listener, constraint);
    } catch (error) {
      constraint?.[Symbol.dispose]();
      listener.fail(asError(error));
      return () => {};
    }
    this.#active.set(active.sequence, active);
    if (active.echoing) this.#echoing.add(active);
    if (active.reading()) this.#reading.add(active);
    this.#wake?.();
    return () => this.#end(active, "cancelled");
  }

  /** Tokens of `text`. */
  tokenize(text: string, options: { addBos?: boolean; special?: boolean } = {}): number[] {
    return this.#model.codec.encode(text, options);
  }

  /** Text of `ids`. Throws `RangeError` for an id out of range. */
  detokenize(ids: number[]): string {
    return this.#model.codec.decode(ids);
  }

  /** Leading tokens of `ids` that the prefix cache holds now. */
  cachedPrefix(ids: number[], cacheScope = ""): number {
    return this.#scheduler.blocks.match(ids, cacheScope, ids.length).tokens;
  }

  /** A snapshot of the load. */
  load(): EngineLoad {
    const { blocks, waiting, running, preemptions, steps } = this.#scheduler;
    return {
      model: this.#model.info.id,
      state: this.#state,
      waiting,
      running,
      pagesTotal: blocks.pagesTotal,
      pagesUsed: blocks.pagesUsed,
      pagesCached: blocks.pagesCached,
      ...this.#totals,
      preemptions,
      steps,
      restarts: 0,
      gpuBytes: this.#model.runner.gpuBytes,
      cpuBytes: this.#model.runner.cpuBytes,
      retrieval: this.#model.runner.retrieval,
    };
  }

  /** Cancels what is running, waits for the step in flight and closes the runner. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      for (const active of [...this.#active.values()]) this.#end(active, "cancelled");
      this.#wake?.();
    }
    await this.#constrained?.close();
    await this.#loop;
  }

  #admit(
    request: GenerateRequest,
    listener: GenerationListener,
    constraint?: ConstrainedText,
  ): ActiveRequest {
    if (this.#closed || this.#state === "failed") {
      throw new DeviceLostError(
        `engine of ${this.#model.info.id} is ${this.#closed ? "closed" : "lost"}`,
      );
    }
    const now = performance.now();
    const { embed } = request;
    const prompt = this.#encode(request);
    const context = this.#scheduler.contextLength;
    const room = context - prompt.length;
    if (room < (embed ? 0 : 1)) {
      throw new RangeError(tooLong(`prompt has ${prompt.length} tokens`, context, !embed));
    }
    const { maxTokens = room } = embed ? { maxTokens: 0 } : request;
    if (!Number.isInteger(maxTokens) || maxTokens < 0) {
      throw new RangeError(`maxTokens is ${maxTokens}, expected an integer of at least 0`);
    }
    checkSampling(request.sampling, this.#model.info.vocabularySize);
    checkLogprobs(request.logprobs);
    checkDecode(request.decode);
    checkRequest(request);
    const { logprobs: top, echo = false } = request;
    const sequence = new Sequence({
      id: request.id,
      prompt,
      maxTokens: Math.min(maxTokens, room),
      sampling: request.sampling,
      scope: request.cacheScope,
      criteria: request.criteria,
      priority: request.priority,
      // Nothing is decoded: no context is to be kept elsewhere for it. A prompt that is only filled is read for those who go on with it.
      decode: embed || (echo && maxTokens === 0)
        ? { kind: "dense" }
        : request.decode ?? this.#options.decode,
      scores: top === undefined ? undefined : new TokenScores({ top, prompt: echo }),
      pooled: embed && this.#pooled(prompt.length, embed.dimensions),
      constraint,
    });
    const { codec } = this.#model;
    const added = echo && request.prompt.type === "parts" && codec.addsBos(request.prompt.parts);
    const active = new ActiveRequest(request, sequence, codec, listener, now, Number(added));
    // Last: what throws after it would leave a sequence behind that nobody reads, and all others would be failed with it.
    this.#scheduler.add(sequence, now);
    return active;
  }

  #encode({ prompt, embed }: GenerateRequest): number[] {
    return prompt.type === "chat"
      ? this.#model.codec.encodeChat(prompt.messages, { tools: prompt.tools })
      : this.#model.codec.encodeParts(prompt.parts, { addEos: embed !== undefined });
  }

  #pooled(tokens: number, dimensions: number | undefined): PooledText {
    const { runner, info } = this.#model;
    const { width, pooling = "mean" } = runner.embedding ?? { width: 0 };
    if (width === 0) throw new TypeError(`${info.id} gives no embeddings`);
    if (pooling === "rank") {
      throw new TypeError(
        `${info.id} gives no embeddings: ${info.architecture}.pooling_type of its file is 4, the rank of a text beside another`,
      );
    }
    if (
      dimensions !== undefined &&
      !(Number.isInteger(dimensions) && dimensions >= 1 && dimensions <= width)
    ) {
      throw new TypeError(`dimensions is ${dimensions}, expected an integer from 1 to ${width}`);
    }
    return new PooledText({ pooling, tokens, width, dimensions });
  }

  #end(active: ActiveRequest, reason: "stop" | "length" | "cancelled"): void {
    if (!this.#active.delete(active.sequence)) return;
    this.#echoing.delete(active);
    this.#reading.delete(active);
    this.#scheduler.finish(active.sequence, performance.now());
    active.sequence.constraint?.[Symbol.dispose]();
    active.finish(reason);
  }

  #fail(sequence: Sequence, error: Error): void {
    const active = this.#active.get(sequence);
    this.#active.delete(sequence);
    if (active) {
      this.#echoing.delete(active);
      this.#reading.delete(active);
    }
    this.#scheduler.finish(sequence, performance.now());
    sequence.constraint?.[Symbol.dispose]();
    active?.fail(error);
  }

  async #run(): Promise<void> {
    while (!this.#closed || this.#scheduler.stepsInFlight > 0) {
      if (this.#idle) {
        this.#forgetLeft();
        this.#checkBooks();
        const quiet = this.#state === "ready" ? this.#preparation.quiet : undefined;
        await this.#sleep(quiet);
        if (quiet !== undefined && this.#idle && !this.#closed) await this.#preparation.advance();
        continue;
      }
      if (this.#preparation.due && this.#scheduler.stepsInFlight === 0) {
        await this.#preparation.advance();
      }
      try {
        this.#step();
      } catch (error) {
        await this.#recover(asError(error));
      }
      this.#options.onStep?.();
      if (performance.now() - this.#lastLook < LOOK_INTERVAL) continue;
      await yieldToEventLoop();
      this.#lastLook = performance.now();
    }
    await this.#closeRunner();
  }

  /** Waits to be woken, or until `milliseconds` are over. */
  async #sleep(milliseconds: number | undefined): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (milliseconds !== undefined) timer = setTimeout(resolve, milliseconds);
    });
    this.#wake = undefined;
    clearTimeout(timer);
  }

  get #idle(): boolean {
    const { waiting, running, stepsInFlight } = this.#scheduler;
    return waiting + running + stepsInFlight === 0 || this.#state === "failed";
  }

  /** Fills the pipeline and reads the oldest step. */
  #step(): void {
    const { runner } = this.#model;
    const scheduler = this.#scheduler;
    while (scheduler.stepsInFlight < runner.pipelineDepth) {
      // No step may be in flight while the runner prepares.
      if (this.#preparation.due && scheduler.stepsInFlight > 0) break;
      const batch = scheduler.schedule(performance.now());
      this.#forgetLeft();
      if (!batch) break;
      runner.submit(batch);
    }
    for (const sequence of scheduler.takeAdmitted()) {
      this.#totals.promptTokens += sequence.promptTokens;
      this.#totals.cachedPromptTokens += sequence.cachedTokens;
      this.#active.get(sequence)?.start();
    }
    if (scheduler.stepsInFlight === 0) {
      if (this.#idle) return;
      throw new Error(
        `${scheduler.waiting} waiting and ${scheduler.running} running sequences cannot go on`,
      );
    }
    const results = scheduler.collect(runner.collect());
    if (scheduler.stepsInFlight === 0) {
      for (const pages of runner.takeVacant?.() ?? []) scheduler.vacate(pages);
    }
    for (const active of this.#reading) if (!active.reading()) this.#reading.delete(active);
    this.#echo();
    const now = performance.now();
    for (const { sequence, token, faulty } of results) {
      const active = this.#active.get(sequence);
      if (!active) continue;
      if (faulty) {
        const why = "the logits are not finite; the model file or the GPU driver is faulty";
        const refused = sequence.constraint?.failure;
        // A constraint that nothing can keep leaves nothing to sample, whatever the logits are.
        sequence.faulty = refused === undefined;
        this.#fail(sequence, refused ?? new Error(`sample a token: ${why}`));
        continue;
      }
      if (token !== undefined) this.#totals.generatedTokens++;
      try {
        const reason = token === undefined ? active.read() : active.accept(token, now);
        if (reason) this.#end(active, reason);
      } catch (error) {
        sequence.faulty = sequence.pooled !== undefined;
        this.#fail(sequence, asError(error));
      }
    }
    this.#forgetLeft();
  }

  /** Reports what the step has made known of prompts. */
  #echo(): void {
    for (const active of this.#echoing) {
      try {
        // One that was never admitted has not said that it started.
        if (active.sequence.cachedTokens >= 0) active.echo();
      } catch (error) {
        this.#fail(active.sequence, asError(error));
      }
      if (!active.echoing) this.#echoing.delete(active);
    }
  }

  /** Lets the runner free what it keeps for sequences that have left. */
  #forgetLeft(): void {
    for (const slot of this.#scheduler.takeLeft()) this.#model.runner.leave?.(slot);
  }

  /** Fails what was resident with `error`, then reopens the model; waiting requests stay. */
  async #recover(failure: Error): Promise<void> {
    this.#state = "starting";
    const error = await this.#cause(failure);
    log("error", `engine of ${this.#model.info.id}: ${error.message}; reopening the device`, {
      error: error.name,
    });
    for (const sequence of this.#scheduler.reset()) this.#fail(sequence, error);
    await this.#closeRunner();
    for (const delay of this.#options.reopenDelaysMs ?? [0, 250, 2000]) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (this.#closed) return;
      try {
        this.#model = await this.#open();
        this.#preparation = new Preparation(this.#model.runner);
        this.#runnerOpen = true;
        this.#scheduler.reset(this.#model.runner);
        this.#failTooLong();
        this.#state = "ready";
        return;
      } catch (cause) {
        log("error", `reopening failed: ${asError(cause).message}`);
      }
    }
    this.#state = "failed";
    for (const sequence of [...this.#active.keys()]) {
      this.#fail(
        sequence,
        new DeviceLostError(`the device could not be reopened: ${error.message}`),
      );
    }
  }

  /** The loss of the device, if that is what `failure` was the first sign of. */
  async #cause(failure: Error): Promise<Error> {
    const { loss } = this.#model.runner;
    if (failure instanceof DeviceLostError || !loss) return failure;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<Error>((resolve) => {
      timer = setTimeout(resolve, LOSS_NOTICE, failure);
    });
    const cause = await Promise.race([loss, late]);
    clearTimeout(timer);
    return cause;
  }

  /** Fails what waits and has no room on a device that is smaller than the one before: it would hold everything up for ever. */
  #failTooLong(): void {
    for (const sequence of [...this.#active.keys()]) {
      try {
        this.#scheduler.checkLength(sequence);
      } catch (error) {
        this.#fail(sequence, asError(error));
      }
    }
  }

  async #closeRunner(): Promise<void> {
    if (!this.#runnerOpen) return;
    this.#runnerOpen = false;
    try {
      await this.#model.runner[Symbol.asyncDispose]();
    } catch (error) {
      log("warn", `closing the device failed: ${asError(error).message}`);
    }
  }

  #checkBooks(): void {
    const now = performance.now();
    if (now - this.#lastCheck < CHECK_INTERVAL) return;
    this.#lastCheck = now;
    const problems = this.#scheduler.check();
    if (problems.length === 0) return;
    log("error", "KV page books are unsound; dropping the prefix cache", { problems });
    this.#scheduler.reset();
  }
}
