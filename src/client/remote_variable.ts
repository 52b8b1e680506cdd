import type { Criteria } from "../graph/criteria.ts";
import type { ReadEvent, ReadOptions } from "./early_reads.ts";
import { GraphRequestError, type GraphTransport } from "./graph_transport.ts";
import { serverSentEvents } from "./server_sent_events.ts";

/** What a variable needs of the session it lives in. */
export interface VariableHome {
  readonly transport: GraphTransport;
  /** Query fields that say which session, once it is open. */
  credentials(): Record<string, string>;
  /** Resolves when the server has a variable; rejects when it refused what makes it. */
  sent(variable: RemoteVariable): Promise<void> | undefined;
  /** Reads a variable in the request that makes it; undefined when that has left. */
  readEarly(variable: RemoteVariable, options: ReadOptions): AsyncIterable<ReadEvent> | undefined;
}

/**
 * A variable in the server: pass it to calls before it has a value; read it when the value is needed here.
 */
export class RemoteVariable {
  /** The name it was given. */
  readonly name: string;
  /** Its name within the request that makes it. */
  readonly ref: string;
  /** Set when the server has it. */
  id: string | undefined;
  readonly #home: VariableHome;

  /** A variable of `home`, known to the server as `ref`. */
  constructor(home: VariableHome, name: string, ref: string) {
    this.#home = home;
    this.name = name;
    this.ref = ref;
  }

  /**
   * The value, once it is there. Rejects with `GraphRequestError` when it cannot come. Asked for in the turn in which its call was written,
   * it comes with the answer to that.
   */
  async get(options: { criteria?: Criteria; signal?: AbortSignal } = {}): Promise<string> {
    const { criteria = "latency", signal } = options;
    const early = this.#home.readEarly(this, { criteria, stream: false, signal });
    for await (const { content, error, status } of early ?? []) {
      if (error !== undefined) throw new GraphRequestError(status ?? 500, error);
      if (content !== undefined) return content;
    }
    const path = await this.#path();
    const query = { ...this.#home.credentials(), criteria };
    const answer = await this.#home.transport.send("GET", path, { query, signal });
    return (await answer.json()).content;
  }

  /** The value in pieces, as they are generated. */
  async *stream(
    options: { criteria?: Criteria; signal?: AbortSignal } = {},
  ): AsyncGenerator<string, void, void> {
    const { criteria = "TTFT", signal } = options;
    let got = 0;
    const early = this.#home.readEarly(this, { criteria, stream: true, signal });
    for await (const { text, done, error, status } of early ?? []) {
      if (error !== undefined) throw new GraphRequestError(status ?? 500, error);
      if (done) return;
      if (!text) continue;
      got += text.length;
      yield text;
    }
    const path = await this.#path();
    const query = { ...this.#home.credentials(), criteria };
    const answer = await this.#home.transport.send("GET", `${path}/stream`, { query, signal });
    if (!answer.body) throw new TypeError("stream: the answer has no body");
    for await (const event of serverSentEvents(answer.body)) {
      const { text = "", done, error, status } = JSON.parse(event) as ReadEvent;
      if (error !== undefined) throw new GraphRequestError(status ?? 500, error);
      if (done) return;
      // What an answer that broke off has brought comes again.
      const fresh = text.slice(got);
      got = Math.max(0, got - text.length);
      if (fresh !== "") yield fresh;
    }
    throw new GraphRequestError(
      502,
      `stream of ${this.name}: the connection ended before the value`,
    );
  }

  /** The raw bytes of the value: what an image's data URL stands for. */
  async bytes(options: { criteria?: Criteria; signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const path = await this.#path();
    const query = { ...this.#home.credentials(), criteria: options.criteria ?? "latency" };
    const answer = await this.#home.transport.send("GET", `${path}/content`, {
      query,
      signal: options.signal,
    });
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** Gives a value to a variable that no call sets. */
  async set(content: string): Promise<void> {
    const path = await this.#path();
    const credentials = this.#home.credentials();
    const json = { ...credentials, session_id: Number(credentials.session_id), content };
    await (await this.#home.transport.send("POST", path, { json })).body?.cancel();
  }

  /** Stops the work that would set it. */
  async cancel(): Promise<void> {
    const path = await this.#path();
    const query = this.#home.credentials();
    await (await this.#home.transport.send("DELETE", path, { query })).body?.cancel();
  }

  async #path(): Promise<string> {
    await this.#home.sent(this);
    if (this.id === undefined) throw new Error(`Variable ${this.name} never reached the server`);
    return `/v1/semantic_var/${encodeURIComponent(this.id)}`;
  }
}
