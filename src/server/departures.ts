import type { FetchHandler } from "./options.ts";

/** Where Linux lists the system's TCP connections. */
const tables = ["/proc/net/tcp", "/proc/net/tcp6"];
/** The state of a connection whose other end may still send. */
const established = "01";
const usualMs = 1000;

/**
 * Sees clients hang up whose requests came in more than one segment, as httpx and with it OpenAI's own client send them: of those `Deno.serve`
 * does not notice (2.9: the request's signal fires when the answer is written, minutes later maybe), and the work for nobody would go on. Linux
 * says which connections are still open; elsewhere, or without the permission to read that, nothing is changed.
 */
export class Departures {
  readonly #port: () => number;
  readonly #everyMs: number;
  readonly #watched = new Set<Watched>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The latest look. */
  #looking = Promise.resolve();

  /** `port`: the local port of the connections. `everyMs`: between looks, taken only while somebody waits for an answer. */
  constructor(port: () => number, everyMs = usualMs) {
    this.#port = port;
    this.#everyMs = everyMs;
  }

  /** Answers a request by `fetch`; its signal also fires when the client at `address` has gone. */
  async answer(request: Request, address: Deno.Addr, fetch: FetchHandler): Promise<Response> {
    if (Deno.build.os !== "linux" || address.transport !== "tcp") return await fetch(request);
    const watched = {
      client: endpoint(address.hostname, address.port),
      gone: new AbortController(),
    };
    let signal: AbortSignal | undefined;
    // On the object itself: a new request could not become a WebSocket. Only who asks for the signal has work to stop.
    Object.defineProperty(request, "signal", {
      configurable: true,
      get: () => {
        if (signal) return signal;
        this.#watch(watched);
        return signal = AbortSignal.any([
          Reflect.get(Request.prototype, "signal", request) as AbortSignal,
          watched.gone.signal,
        ]);
      },
    });
    try {
      return await fetch(request);
    } finally {
      this.#watched.delete(watched);
      if (this.#watched.size === 0) this.#rest();
    }
  }

  /** Resolves when no look is under way any more, once nobody waits for an answer. */
  async ended(): Promise<void> {
    await this.#looking;
  }

  #watch(watched: Watched): void {
    this.#watched.add(watched);
    if (this.#timer === undefined) this.#lookLater();
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => this.#looking = this.#look(), this.#everyMs);
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #look(): Promise<void> {
    const asked = [...this.#watched];
    const open = await openConnections(this.#port()).catch(() => undefined);
    for (const watched of asked) {
      if (!open || open.has(watched.client) || !this.#watched.delete(watched)) continue;
      watched.gone.abort(new DOMException("The client left", "AbortError"));
    }
    this.#rest();
    // What cannot be read now cannot be read later.
    if (open && this.#watched.size > 0) this.#lookLater();
  }
}

/** A request whose client is looked after. */
interface Watched {
  client: string;
  gone: AbortController;
}

/** The other ends of connections to a local port that are open in both directions, as `endpoint` writes them. */
export async function openConnections(port: number): Promise<Set<string>> {
  const texts = await Promise.all(tables.map((table) =>
    Deno.readTextFile(table).catch((error) => {
      // A system without IPv6 has no table of it.
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    })
  ));
  const found = new Set<string>();
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  // Addresses of clients are few, of one proxy often, and lines are as many as the system has connections.
  const addresses = new Map<string, string>();
  for (const text of texts) {
    for (let start = text.indexOf("\n") + 1; start < text.length;) {
      // `   0: 0100007F:1F90 0100007F:E6B2 01 …`: the local end, the other one, the state.
      const end = text.indexOf("\n", start);
      const local = text.indexOf(": ", start) + 2;
      const digits = text.indexOf(":", local) - local;
      const remote = local + digits + 6;
      const state = remote + digits + 6;
      start = end < 0 ? text.length : end + 1;
      if (text.slice(local + digits + 1, remote - 1) !== wanted) continue;
      if (text.slice(state, state + 2) !== established) continue;
      const hex = text.slice(remote, remote + digits);
      let address = addresses.get(hex);
      if (address === undefined) addresses.set(hex, address = shortest(addressOf(hex)));
      found.add(`${address}:${parseInt(text.slice(remote + digits + 1, state - 1), 16)}`);
    }
  }
  return found;
}

/** An address as the tables have it: words of four bytes, each in the machine's order, the lowest first. */
function addressOf(hex: string): string {
  const bytes = hex.match(/.{8}/g)!.flatMap((word) =>
    word.match(/../g)!.reverse().map((byte) => parseInt(byte, 16))
  );
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from(
    { length: 8 },
    (_, i) => (bytes[2 * i] * 256 + bytes[2 * i + 1]).toString(16),
  );
  return groups.join(":");
}

function endpoint(hostname: string, port: number): string {
  return `${shortest(hostname)}:${port}`;
}

/** One spelling of an address; an IPv4 address within IPv6 is that IPv4 address. */
function shortest(hostname: string): string {
  if (!hostname.includes(":")) return hostname;
  const { hostname: short } = new URL(`http://[${hostname.split("%")[0]}]`);
  const mapped = /^\[::ffff:([0-9a-f]+):([0-9a-f]+)\]$/.exec(short);
  if (!mapped) return short;
  const [high, low] = [mapped[1], mapped[2]].map((group) => parseInt(group, 16));
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
