import { DeviceLostError } from "../common/errors.ts";
import { log } from "../common/log.ts";
import type { Carrier, CarrierFactory } from "./carrier.ts";
import { fromErrorWire } from "./error_wire.ts";
import type { FromHost, HostCall, HostSpec } from "./host_messages.ts";
import { HostWork } from "./host_work.ts";
import type { EngineLoad, GenerateRequest, Generation, ModelInfo } from "./types.ts";

/** How a host is looked after. */
export interface SupervisionOptions {
  /** Requests that may wait for their first step; one more is refused with `CapacityError`. */
  maxWaiting: number;
  /** Milliseconds before the first, second… restart in a row; the last one goes for all further. */
  restartDelaysMs: readonly number[];
  /** A host that dies so often in a row before its model is open has failed for good. */
  maxFailedStarts: number;
  /** Milliseconds of readiness after which restarts count from the first again. */
  stableMs: number;
  /** A host with work that says nothing for so many milliseconds hangs, and is killed. */
  silenceMs: number;
}

/** Defaults of `SupervisionOptions`. */
export const supervisionDefaults: Readonly<SupervisionOptions> = {
  maxWaiting: 256,
  restartDelaysMs: [0, 250, 1000, 4000, 10_000],
  maxFailedStarts: 5,
  stableMs: 30_000,
  // The longest honest silence measured is 63 s: compiling shaders for a software adapter on a loaded machine.
  silenceMs: 300_000,
};

/**
 * A host that is started again when it dies. Requests on which nothing was delivered are run once more on the next
 * host; the others fail with `DeviceLostError`. What arrives while no host is ready waits for it.
 */
export class SupervisedHost implements AsyncDisposable {
  readonly id: string;
  /** Resolves with the model once it is open for the first time; rejects when it cannot be opened. */
  readonly ready: Promise<ModelInfo>;
  readonly #spec: HostSpec;
  readonly #startCarrier: CarrierFactory;
  readonly #options: SupervisionOptions;
  readonly #work: HostWork;
  #resolveReady: (info: ModelInfo) => void = () => {};
  #rejectReady: (error: Error) => void = () => {};
  #carrier: Carrier;
  #state: EngineLoad["state"] = "starting";
  #load: EngineLoad;
  #restarts = 0;
  /** Deaths in a row: since the last stable time, and since the model was last open. */
  #deaths = 0;
  #failedStarts = 0;
  #readyAt = 0;
  #heardAt = 0;
  #closed = false;
  #restartTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #watchdog: ReturnType<typeof setInterval>;

  constructor(
    id: string,
    spec: HostSpec,
    startCarrier: CarrierFactory,
    options: Partial<SupervisionOptions> = {},
  ) {
    this.id = id;
    this.#spec = spec;
    this.#startCarrier = startCarrier;
    this.#options = { ...supervisionDefaults, ...options };
    this.#work = new HostWork(id, this.#options.maxWaiting);
    this.#load = emptyLoad(id);
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    // Nobody needs to wait for it: requests and `models` report the failure too.
    this.ready.catch((error) => {
      if (!this.#closed) log("error", `model ${id} could not be opened: ${error.message}`);
    });
    this.#carrier = this.#start();
    const interval = Math.max(10, this.#options.silenceMs / 4);
    this.#watchdog = setInterval(() => this.#watch(), interval);
  }

  /** Queues a generation. Throws `CapacityError` when too many wait and `TypeError` for an id in use. */
  submit(request: GenerateRequest): Generation {
    return this.#work.submit(request);
  }

  /** Asks the host; waits for it when it is starting. */
  ask(question: HostCall): Promise<unknown> {
    return this.#work.ask(question);
  }

  /** The latest snapshot, with what is known on this side. */
  load(): EngineLoad {
    return {
      ...this.#load,
      // A host that reopens its device is starting too.
      state: this.#state === "ready" && this.#load.state !== "ready" ? "starting" : this.#state,
      waiting: this.#work.waiting,
      running: this.#work.running,
      restarts: this.#restarts,
    };
  }

  /**
   * Ends the host, and everything that it runs as cancelled. Kills it when it does not end within `graceMs`, at once where its model is not open:
   * compiling shaders, it hears nothing, and has nothing to end.
   */
  async close(graceMs = 5000): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const opened = this.#state === "ready";
    clearInterval(this.#watchdog);
    const error = new DeviceLostError(`the engine of ${this.id} was closed`);
    this.#giveUp(error);
    if (this.#restartTimer !== undefined) return clearTimeout(this.#restartTimer);
    if (opened) this.#carrier.send({ type: "close" });
    const timer = setTimeout(() => this.#carrier.kill(), opened ? graceMs : 0);
    await this.#carrier.gone;
    clearTimeout(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(): Carrier {
    this.#state = "starting";
    this.#heardAt = performance.now();
    const carrier = this.#startCarrier((message) => {
      if (this.#carrier === carrier) this.#receive(message);
    });
    carrier.gone.then((reason) => {
      if (this.#carrier === carrier) this.#onGone(reason);
    });
    carrier.send({ type: "open", spec: this.#spec });
    return carrier;
  }

  #receive(message: FromHost): void {
    if (this.#closed) return;
    this.#heardAt = performance.now();
    switch (message.type) {
      case "opened":
        return this.#onOpened(message.info, message.load);
      case "failed":
        return this.#onOpenFailed(fromErrorWire(message.error));
      case "events":
        for (const event of message.events) this.#work.onEvent(event);
        return;
      case "load":
        this.#load = message.load;
        return;
      case "reply":
      case "refusal":
        return this.#work.onAnswer(message);
      default:
        message satisfies never;
    }
  }

  #onOpened(info: ModelInfo, load: EngineLoad): void {
    this.#state = "ready";
    this.#load = load;
    this.#failedStarts = 0;
    this.#readyAt = performance.now();
    this.#resolveReady(info);
    if (this.#restarts > 0) log("info", `engine of ${this.id} is ready again`);
    const carrier = this.#carrier;
    this.#work.connect((message) => carrier.send(message));
  }

  /** A model that cannot be opened will not open the next time either, unless the device was the reason. */
  #onOpenFailed(error: Error): void {
    if (!(error instanceof DeviceLostError)) this.#giveUp(this.#lost(error));
    this.#carrier.kill();
  }

  /** What requests are told. They were right to ask for a model that was open once: its file, gone or replaced, is no fault of theirs. */
  #lost(error: Error): Error {
    if (this.#readyAt === 0) return error;
    const message = `the engine of ${this.id} cannot be started again: ${error.message}`;
    return new DeviceLostError(message);
  }

  #onGone(reason: string): void {
    if (this.#state === "failed") return;
    const wasReady = this.#state === "ready";
    this.#state = "starting";
    this.#load = {
      ...emptyLoad(this.id),
      gpuBytes: this.#load.gpuBytes,
      cpuBytes: this.#load.cpuBytes,
      pagesTotal: this.#load.pagesTotal,
    };
    const error = new DeviceLostError(
      `the engine of ${this.id} ended unexpectedly (${reason}); it is restarted`,
    );
    if (wasReady && performance.now() - this.#readyAt >= this.#options.stableMs) this.#deaths = 0;
    if (!wasReady && ++this.#failedStarts >= this.#options.maxFailedStarts) {
      return this.#giveUp(
        new DeviceLostError(
          `the engine of ${this.id} ended ${this.#failedStarts} times while it started (${reason})`,
        ),
      );
    }
    this.#work.disconnect(error);
    const delays = this.#options.restartDelaysMs;
    const delay = delays[Math.min(this.#deaths++, delays.length - 1)];
    log("error", error.message, { delayMs: delay });
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = undefined;
      this.#restarts++;
      try {
        this.#carrier = this.#start();
      } catch (cause) {
        this.#onGone(String(cause));
      }
    }, delay);
  }

  /** Fails everything, now and from now on. */
  #giveUp(error: Error): void {
    this.#state = "failed";
    // `ready` has told of a model that was open before, and tells of its end no more.
    if (!this.#closed && this.#readyAt > 0) {
      log("error", `model ${this.id} is served no more: ${error.message}`);
    }
    this.#rejectReady(error);
    this.#work.close(error, this.#closed);
  }

  #watch(): void {
    if (this.#state !== "ready" || !this.#work.busy) {
      this.#heardAt = performance.now();
    } else if (performance.now() - this.#heardAt > this.#options.silenceMs) {
      log(
        "error",
        `engine of ${this.id} has been silent for ${this.#options.silenceMs} ms with work to do`,
      );
      this.#carrier.kill();
    }
  }
}

function emptyLoad(model: string): EngineLoad {
  return {
    model,
    state: "starting",
    waiting: 0,
    running: 0,
    pagesTotal: 0,
    pagesUsed: 0,
    pagesCached: 0,
    promptTokens: 0,
    cachedPromptTokens: 0,
    generatedTokens: 0,
    preemptions: 0,
    steps: 0,
    restarts: 0,
    gpuBytes: 0,
    cpuBytes: 0,
  };
}
