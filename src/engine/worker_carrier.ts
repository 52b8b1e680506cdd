import type { Carrier } from "./carrier.ts";
import type { FromHost, ToHost } from "./host_messages.ts";

/** A host in a Worker of this process: no second process, but a driver fault takes everything with it. */
export class WorkerCarrier implements Carrier {
  readonly gone: Promise<string>;
  readonly #worker: Worker;
  #end: (reason: string) => void = () => {};

  constructor(onMessage: (message: FromHost) => void) {
    this.gone = new Promise((resolve) => this.#end = resolve);
    this.#worker = new Worker(new URL("./host_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<FromHost | { type: "closed" }>) => {
      if (data.type === "closed") this.kill();
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
    this.#worker.terminate();
    this.#end(reason);
  }
}
