/** Where a server is, and how it is reached. */
export interface GraphClientOptions {
  /** Default `http://127.0.0.1:8080`. */
  url?: string;
  /** Asked for unless the server listens on loopback only. */
  apiKey?: string;
  /** How requests are made: an application's own `fetch` runs without a network. Default the global one. */
  fetch?: (request: Request) => Response | Promise<Response>;
  /**
   * Milliseconds that whoever reads a variable waits, in all, to ask again for it while no server answers: one with a store is started anew
   * in this time, and has it then. 0: not at all. Default 10,000.
   */
  reconnectMs?: number;
}

/** The server refused, or the work failed. */
export class GraphRequestError extends Error {
  /** The class name. */
  override readonly name = "GraphRequestError";
  /** HTTP status; 500 and above with a message of the engine's when the work itself failed. */
  readonly status: number;
  /** A refusal: its HTTP status and what the server said. */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Sends requests to one server. */
export class GraphTransport {
  readonly #base: string;
  readonly #apiKey: string | undefined;
  readonly #fetch: NonNullable<GraphClientOptions["fetch"]>;
  /** Milliseconds that readers wait in all for a server to come back. */
  readonly reconnectMs: number;

  /** A connection to the server at `options.url`, http://127.0.0.1:8080 by default. */
  constructor(options: GraphClientOptions) {
    this.#base = (options.url ?? "http://127.0.0.1:8080").replace(/\/+$/, "");
    this.#apiKey = options.apiKey;
    this.#fetch = options.fetch ?? ((request) => fetch(request));
    this.reconnectMs = options.reconnectMs ?? 10_000;
  }

  /** Sends a request; throws `GraphRequestError` for any answer but a good one, and a `TypeError` that names the server when none comes. */
  async send(
    method: string,
    path: string,
    options: { query?: Record<string, string>; json?: unknown; signal?: AbortSignal } = {},
  ): Promise<Response> {
    const url = new URL(`${this.#base}${path}`);
    for (const [name, value] of Object.entries(options.query ?? {})) {
      url.searchParams.set(name, value);
    }
    const headers = new Headers();
    if (this.#apiKey !== undefined) headers.set("Authorization", `Bearer ${this.#apiKey}`);
    if (options.json !== undefined) headers.set("Content-Type", "application/json");
    const answer = await this.#answer(
      new Request(url, {
        method,
        headers,
        body: options.json === undefined ? undefined : JSON.stringify(options.json, finite),
        signal: options.signal,
      }),
    );
    if (answer.ok) return answer;
    throw new GraphRequestError(answer.status, messageOf(await answer.text()));
  }

  /** `fetch` says no more than that it failed; why stands in the cause. */
  async #answer(request: Request): Promise<Response> {
    try {
      return await this.#fetch(request);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const { cause, message } = error;
      throw new TypeError(
        `${request.method} ${request.url}: no answer from the server (${
          cause instanceof Error ? cause.message : message
        }); expected one that listens at ${this.#base}`,
        { cause: error },
      );
    }
  }
}

/** JSON has no such numbers: they would arrive as null, and the server would take its default. */
function finite(name: string, value: unknown): unknown {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  throw new TypeError(`${name} is ${value}, expected a finite number`);
}

/** The message of an error body, in Parrot's shape or OpenAI's. */
function messageOf(text: string): string {
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : error.message ?? text;
  } catch {
    return text;
  }
}
