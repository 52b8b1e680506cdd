import type { Carrier } from "./carrier.ts";
import type { FromHost, ToHost } from "./host_messages.ts";
import { threadEnd } from "./worker_thread.ts";

/** Milliseconds that a terminated Worker gets to end: one that compiles shaders takes a while to notice. */
const END_MS = 2000;

/** What a host Worker says beside a host's messages. */
export type FromHostWorker =
  | FromHost
  /** First of all: the number of its thread, where that can be told. */
  | { type: "thread"; id: string | undefined }
  /** Last of all. */
  | { type: "closed" };

/** A host in a Worker of this process: no second process, but a driver fault takes everything with it. */
export class WorkerCarrier implements Carrier {
  readonly gone: Promise<string>;
  readonly #worker: Worker;
  #thread: { id: string | undefined } | undefined;
  #stopped = false;
  #end: (reason: string) => void = () => {};

  constructor(onMessage: (message: FromHost) => void) {
    this.gone = new Promise((resolve) => this.#end = resolve);
    this.#worker = new Worker(new URL("./host_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromHostWorker>) => {
      if (data.type === "closed") this.kill();
      else if (data.type === "thread") this.#thread = data;
      else onMessage(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#stop(event.message);
    };
  }

  send(message: ToHost): void {
    this.#worker.postMessage(message);
  }

  kill(): void {
    this.#stop("terminated");
  }

  #stop(reason: string): void {
    // Killed twice, it is waited for once: nothing goes on when it is gone.
    if (this.#stopped) return;
    this.#stopped = true;
    this.#worker.terminate();
    // One that has not said which thread it is has not come to the GPU.
    if (this.#thread) threadEnd(this.#thread.id, END_MS).then(() => this.#end(reason));
    else this.#end(reason);
  }
}
