import { shuttingDown } from "../graph/graph_error.ts";
import { GraphRequestError } from "./graph_transport.ts";

/** The first pause, which doubles, and the longest, in milliseconds. */
const FIRST_MS = 100;
const LONGEST_MS = 2000;

/** When a reader asks again that got no answer, since its server stops, or is being started anew. */
export class Reconnection {
  #left: number;
  #pause = FIRST_MS;
  readonly #signal: AbortSignal | undefined;

  /** `ms` of pauses in all; `signal` ends them. */
  constructor(ms: number, signal?: AbortSignal) {
    this.#left = ms;
    this.#signal = signal;
  }

  /** Resolves when it is time to ask again. Rejects with `error` where that does not tell of a restart, or no time is left, or with the signal's reason. */
  async after(error: unknown): Promise<void> {
    if (!tellsOfRestart(error) || this.#left <= 0) throw error;
    const ms = Math.min(this.#pause, this.#left);
    this.#left -= ms;
    this.#pause = Math.min(2 * this.#pause, LONGEST_MS);
    await pause(ms, this.#signal);
  }
}

/** Whether the connection could not be made or broke off, by a server that stops or a gateway before it. */
export function tellsOfRestart(error: unknown): boolean {
  if (!(error instanceof GraphRequestError)) return error instanceof TypeError;
  return error.status === 502 || error.status === 503 && error.message.endsWith(shuttingDown);
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const giveUp = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    }, ms);
    signal?.addEventListener("abort", giveUp, { once: true });
  });
}
