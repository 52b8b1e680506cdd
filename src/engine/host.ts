import { Engine } from "./engine.ts";
import { toErrorWire } from "./error_wire.ts";
import type {
  FromHost,
  HostCall,
  HostEvent,
  HostSpec,
  ModelModule,
  ToHost,
} from "./host_messages.ts";
import type { EngineLoad, GenerateRequest } from "./types.ts";

/** Shortest time in milliseconds between two load reports while work goes on. */
const LOAD_INTERVAL = 200;

/**
 * The message shell around an engine: the same for a child process and a Worker, which differ in what carries the
 * messages. All events of a step leave in one message.
 */
export class EngineHost {
  readonly #send: (message: FromHost) => void;
  readonly #onFailed: () => void;
  #engine: Engine | undefined;
  readonly #cancels = new Map<string, () => void>();
  #outbox: HostEvent[] = [];
  #reported = "";
  #reportedAt = 0;
  #closed = false;

  /** `onFailed` is called when the engine can do no more, after everything was said. */
  constructor(send: (message: FromHost) => void, onFailed: () => void) {
    this.#send = send;
    this.#onFailed = onFailed;
  }

  /** Acts on one message; what goes wrong is sent, not thrown. */
  async handle(message: Exclude<ToHost, { type: "close" }>): Promise<void> {
    switch (message.type) {
      case "open":
        return await this.#open(message.spec);
      case "submit":
        this.#submit(message.request);
        break;
      case "cancel":
        this.#cancels.get(message.id)?.();
        break;
      case "call":
        this.#answer(message.call, message.question);
        break;
      default:
        message satisfies never;
    }
    this.#flush();
  }

  /** Cancels what runs and closes the engine. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#engine?.[Symbol.asyncDispose]();
    this.#flush();
  }

  async #open(spec: HostSpec): Promise<void> {
    try {
      const module: ModelModule = spec.module
        ? await import(spec.module)
        : await import("./open_model.ts") as ModelModule;
      const engine = await Engine.open(() => module.openModel(spec.model), {
        ...spec.engine,
        onStep: () => this.#flush(),
      });
      if (this.#closed) return await engine[Symbol.asyncDispose]();
      this.#engine = engine;
      this.#send({ type: "opened", info: engine.info, load: engine.load() });
    } catch (error) {
      this.#send({ type: "failed", error: toErrorWire(error) });
    }
  }

  #submit(request: GenerateRequest): void {
    const { id } = request;
    const fail = (error: unknown) => {
      this.#cancels.delete(id);
      this.#outbox.push([id, { type: "failed", error: toErrorWire(error) }]);
    };
    let ended = false;
    try {
      const cancel = this.#opened.start(request, {
        event: (event) => {
          if (event.type === "finished") {
            ended = true;
            this.#cancels.delete(id);
          }
          this.#outbox.push([id, event]);
        },
        fail: (error) => {
          ended = true;
          fail(error);
        },
      });
      if (!ended) this.#cancels.set(id, cancel);
    } catch (error) {
      fail(error);
    }
  }

  #answer(call: number, question: HostCall): void {
    try {
      this.#send({ type: "reply", call, value: this.#ask(question) });
    } catch (error) {
      this.#send({ type: "refusal", call, error: toErrorWire(error) });
    }
  }

  #ask(question: HostCall): unknown {
    switch (question.method) {
      case "tokenize":
        return this.#opened.tokenize(question.text, question.options);
      case "detokenize":
        return this.#opened.detokenize(question.ids);
      case "cachedPrefix":
        return this.#opened.cachedPrefix(question.ids, question.cacheScope);
    }
  }

  get #opened(): Engine {
    if (!this.#engine) throw new TypeError("the host got work before its model was open");
    return this.#engine;
  }

  #flush(): void {
    if (this.#outbox.length > 0) {
      this.#send({ type: "events", events: this.#outbox });
      this.#outbox = [];
    }
    if (this.#engine) this.#report(this.#engine.load());
  }

  /** Sends the load when it has changed, at once when the engine has become idle, busy or worse. */
  #report(load: EngineLoad): void {
    const now = performance.now();
    const idle = load.waiting + load.running === 0;
    if (!idle && load.state === "ready" && now - this.#reportedAt < LOAD_INTERVAL) return;
    const text = JSON.stringify(load);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#reportedAt = now;
    this.#send({ type: "load", load });
    if (load.state === "failed") this.#onFailed();
  }
}
