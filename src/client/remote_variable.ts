import type { Criteria } from "../graph/criteria.ts";
import type { ReadEvent, ReadOptions } from "./early_reads.ts";
import { GraphRequestError, type GraphTransport } from "./graph_transport.ts";
import { Reconnection, tellsOfRestart } from "./reconnection.ts";
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
   * it comes with the answer to that. While its server is started anew it is asked for again, for as long as `reconnectMs` says; where none
   * answers then, rejects with a `TypeError` that names the server.
   */
  async get(options: { criteria?: Criteria; signal?: AbortSignal } = {}): Promise<string> {
    const { criteria = "latency", signal } = options;
    const early = this.#home.readEarly(this, { criteria, stream: false, signal });
    for await (const { content, error, status } of early ?? []) {
      if (error !== undefined) refuse(error, status);
      if (content !== undefined) return content;
    }
    return (await this.#read("", { criteria, signal }, (answer) => answer.json())).content;
  }

  /**
   * The value in pieces, as they are generated. Asked for again as by `get`: its pieces go on where they broke off, or, should the text come
   * otherwise this time, end with a `GraphRequestError`.
   */
  async *stream(
    options: { criteria?: Criteria; signal?: AbortSignal } = {},
  ): AsyncGenerator<string, void, void> {
    const { criteria = "TTFT", signal } = options;
    let said = "";
    const early = this.#home.readEarly(this, { criteria, stream: true, signal });
    for await (const { text, done, error, status } of early ?? []) {
      if (error !== undefined) refuse(error, status);
      if (done) return;
      if (!text) continue;
      said += text;
      yield text;
    }
    const path = await this.#path();
    const again = new Reconnection(this.#home.transport.reconnectMs, signal);
    while (true) {
      const query = { ...this.#home.credentials(), criteria };
      const pieces = this.#pieces(`${path}/stream`, query, signal);
      let got = 0;
      try {
        while (true) {
          let piece: IteratorResult<string, void>;
          try {
            piece = await pieces.next();
          } catch (error) {
            await again.after(error);
            break;
          }
          const text = piece.value ?? "";
          // What an answer that broke off has brought comes again.
          const known = said.slice(got, piece.done ? undefined : got + text.length);
          if (!text.startsWith(known)) {
            throw new GraphRequestError(
              502,
              `stream of ${this.name}: after the connection broke off its text came otherwise`,
            );
          }
          if (piece.done) return;
          got += text.length;
          const fresh = text.slice(known.length);
          if (fresh === "") continue;
          said += fresh;
          yield fresh;
        }
      } finally {
        await pieces.return();
      }
    }
  }

  /** The raw bytes of the value: what an image's data URL stands for. Asked for again as by `get`. */
  async bytes(options: { criteria?: Criteria; signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { criteria = "latency", signal } = options;
    const buffer = await this.#read(
      "/content",
      { criteria, signal },
      (answer) => answer.arrayBuffer(),
    );
    return new Uint8Array(buffer);
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

  /** What `take` makes of the answer, which is asked for again while there is none. */
  async #read<T>(
    what: string,
    { criteria, signal }: { criteria: Criteria; signal?: AbortSignal },
    take: (answer: Response) => Promise<T>,
  ): Promise<T> {
    const path = await this.#path();
    const { transport } = this.#home;
    const again = new Reconnection(transport.reconnectMs, signal);
    while (true) {
      const query = { ...this.#home.credentials(), criteria };
      try {
        return await take(await transport.send("GET", `${path}${what}`, { query, signal }));
      } catch (error) {
        await again.after(error);
      }
    }
  }

  /** The pieces of one answer. Throws `GraphRequestError`, 502 when it breaks off. */
  async *#pieces(
    path: string,
    query: Record<string, string>,
    signal?: AbortSignal,
  ): AsyncGenerator<string, void, void> {
    const answer = await this.#home.transport.send("GET", path, { query, signal });
    for await (const event of answer.body ? serverSentEvents(answer.body) : []) {
      const { text = "", done, error, status } = JSON.parse(event) as ReadEvent;
      if (error !== undefined) throw new GraphRequestError(status ?? 500, error);
      if (done) return;
      yield text;
    }
    throw new GraphRequestError(
      502,
      `stream of ${this.name}: the connection ended before the value`,
    );
  }

  async #path(): Promise<string> {
    await this.#home.sent(this);
    if (this.id === undefined) throw new Error(`Variable ${this.name} never reached the server`);
    return `/v1/semantic_var/${encodeURIComponent(this.id)}`;
  }
}

/** Throws what an answer says of a variable, unless its server only stops: then it is asked for again. */
function refuse(error: string, status = 500): void {
  const refusal = new GraphRequestError(status, error);
  if (!tellsOfRestart(refusal)) throw refusal;
}
