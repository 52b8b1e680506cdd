import type { Criteria } from "../graph/criteria.ts";

/** How a variable is read. */
export interface ReadOptions {
  /** What its reader cares about. */
  criteria: Criteria;
  /** In pieces as they are generated, instead of once it is there. */
  stream: boolean;
  /** Ends the reading. */
  signal?: AbortSignal;
}

/** What an answer says of a variable. */
export interface ReadEvent {
  /** The value. */
  content?: string;
  /** A piece of the value, of which there are more or `done`. */
  text?: string;
  /** All pieces were sent. */
  done?: boolean;
  /** Why there is no value. */
  error?: string;
  /** The HTTP status of that. */
  status?: number;
}

interface EarlyRead {
  options: ReadOptions;
  controller: ReadableStreamDefaultController<ReadEvent>;
  /** Gives up, on the signal of `options`: a signal may outlive any number of reads. */
  giveUp(): void;
}

/** Reads in one request at most, as the server has it. */
const MAX_READS = 256;

/**
 * Reads that travel with the request which makes their variables, so that a value takes one round trip in all. Each reader gets what the
 * answer says of its variable; a reader whose events end without a value reads again by itself.
 */
export class EarlyReads {
  readonly #reads = new Map<string, EarlyRead>();
  /** Lets go of the answer, once there is one. */
  #release: (() => void) | undefined;

  /** Readers that wait for something. */
  get size(): number {
    return this.#reads.size;
  }

  /** The events of one more variable; undefined when it is read already, or too many are, or its reader has given up. */
  add(ref: string, options: ReadOptions): ReadableStream<ReadEvent> | undefined {
    const full = this.#reads.has(ref) || this.#reads.size >= MAX_READS;
    if (full || options.signal?.aborted) return undefined;
    const leave = () => {
      if (this.#forget(ref) && this.#reads.size === 0) this.#release?.();
    };
    const { signal } = options;
    return new ReadableStream<ReadEvent>({
      start: (controller) => {
        const giveUp = () => {
          controller.error(signal?.reason);
          leave();
        };
        this.#reads.set(ref, { options, controller, giveUp });
        signal?.addEventListener("abort", giveUp);
      },
      cancel: leave,
    });
  }

  /** The reads as the request names them. */
  toJSON(): { ref: string; criteria: Criteria; stream: boolean }[] {
    return [...this.#reads].map(([ref, { options: { criteria, stream } }]) => ({
      ref,
      criteria,
      stream,
    }));
  }

  /**
   * Hands the rest of an answer on, until it ends or breaks off, or no reader is left: then `release` is called. Before that the request goes
   * on without readers, since it makes the variables. Never rejects.
   */
  async follow(events: AsyncIterable<string>, release: () => void): Promise<void> {
    this.#release = release;
    if (this.#reads.size === 0) release();
    try {
      for await (const data of events) {
        const { ref, ...event } = JSON.parse(data) as ReadEvent & { ref?: string };
        if (ref !== undefined) this.#event(ref, event);
      }
    } catch {
      // The connection broke: whoever has no value yet asks again, and is told if there is no server.
    }
    this.end();
  }

  /** Ends every reader's events: with `error`, or for them to read by themselves. */
  end(error?: unknown): void {
    for (const [ref, { controller }] of [...this.#reads]) {
      this.#forget(ref);
      if (error === undefined) controller.close();
      else controller.error(error);
    }
  }

  #event(ref: string, event: ReadEvent): void {
    const read = this.#reads.get(ref);
    if (!read) return;
    read.controller.enqueue(event);
    if (event.text !== undefined) return;
    this.#forget(ref);
    read.controller.close();
  }

  /** Whether it was there. */
  #forget(ref: string): boolean {
    const read = this.#reads.get(ref);
    if (!read) return false;
    this.#reads.delete(ref);
    read.options.signal?.removeEventListener("abort", read.giveUp);
    return true;
  }
}
