import type { Criteria } from "../graph/criteria.ts";
import { GraphRequestError, type GraphTransport } from "./graph_transport.ts";

/** What a variable needs of the session it lives in. */
export interface VariableHome {
  readonly transport: GraphTransport;
  /** Query fields that say which session, once it is open. */
  credentials(): Record<string, string>;
  /** Resolves when everything asked for so far has reached the server. */
  flushed(): Promise<void>;
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

  /** The value, once it is there. Rejects with `GraphRequestError` when it cannot come. */
  async get(options: { criteria?: Criteria; signal?: AbortSignal } = {}): Promise<string> {
    const path = await this.#path();
    const query = { ...this.#home.credentials(), criteria: options.criteria ?? "latency" };
    const answer = await this.#home.transport.send("GET", path, { query, signal: options.signal });
    return (await answer.json()).content;
  }

  /** The value in pieces, as they are generated. */
  async *stream(
    options: { criteria?: Criteria; signal?: AbortSignal } = {},
  ): AsyncGenerator<string, void, void> {
    const path = await this.#path();
    const query = { ...this.#home.credentials(), criteria: options.criteria ?? "TTFT" };
    const answer = await this.#home.transport.send("GET", `${path}/stream`, {
      query,
      signal: options.signal,
    });
    if (!answer.body) throw new TypeError("stream: the answer has no body");
    for await (const event of serverSentEvents(answer.body)) {
      const data = JSON.parse(event) as { text?: string; done?: boolean; error?: string };
      if (data.error !== undefined) throw new GraphRequestError(500, data.error);
      if (data.done) return;
      if (data.text) yield data.text;
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
    await this.#home.flushed();
    if (this.id === undefined) throw new Error(`Variable ${this.name} never reached the server`);
    return `/v1/semantic_var/${encodeURIComponent(this.id)}`;
  }
}

/** The data of each event of a server-sent stream. */
async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (
    const text of body.pipeThrough(
      new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>,
    )
  ) {
    const events = (rest + text).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
