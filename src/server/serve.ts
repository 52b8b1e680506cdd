import { log } from "../common/log.ts";
import type { EnginePool } from "../engine/types.ts";
import { createApp } from "./app.ts";
import type { FetchHandler, Surface } from "./context.ts";
import { isLoopback } from "./host_name.ts";
import { openPool, type PoolOptions } from "./open_pool.ts";
import type { AppOptions } from "./options.ts";
import type { SurfaceOptions } from "./surfaces.ts";

/** What `serve` can be told: the application's options, where to listen, and what to serve. */
export interface ServeOptions extends AppOptions, PoolOptions, SurfaceOptions {
  /** Address to bind. Default 127.0.0.1; any other than loopback needs `apiKeys` or `insecure`. */
  host?: string;
  /** Port to bind, 0 for any free one. Default 8080. */
  port?: number;
  /** Allow a bind beyond loopback without a key. */
  insecure?: boolean;
  /** The engines; opened from `models` and closed at the end when absent. A given pool is left open. */
  pool?: EnginePool;
  /** Surfaces beside the built-in routes. Default: those of this package. */
  surfaces?: Surface[];
}

/** A server that listens. */
export interface RunningServer extends AsyncDisposable {
  /** Where, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** The port that was bound. */
  readonly port: number;
  /** Where surfaces listen beside the main port. */
  readonly listeners: readonly string[];
  /** What it stands on. */
  readonly pool: EnginePool;
  /** Answers a request without the network. */
  fetch: FetchHandler;
  /** Settles when the server has stopped. */
  readonly finished: Promise<void>;
  /**
   * Stops: refuses new generations, lets running ones end until `deadlineMs` (default `drainMs`), then cancels them,
   * closes connections and the pool it opened. Idempotent.
   */
  shutdown(deadlineMs?: number): Promise<void>;
}

/** Time that cancelled streams get to send their last event before their connections are cut. */
const lastEventMs = 1_000;

/** Throws `TypeError` for an address that other machines reach, without a key and without `insecure`. */
export function checkBind({ host = "127.0.0.1", apiKeys = [], insecure }: ServeOptions): void {
  if (isLoopback(host) || apiKeys.length > 0 || insecure) return;
  throw new TypeError(
    `serve: ${host} is reachable by other machines: give an API key, or say insecure to do without`,
  );
}

/**
 * Serves on a port. Resolves as soon as it listens: `/ready` tells when the models have loaded. Throws `TypeError` for
 * a bind beyond loopback without a key, `Deno.errors.AddrInUse` when the port is taken.
 */
export async function serve(options: ServeOptions = {}): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 8080 } = options;
  checkBind(options);
  const guarded = isLoopback(host) && (options.apiKeys?.length ?? 0) === 0;
  const pool = options.pool ?? await openPool(options);
  const app = createApp({
    pool,
    surfaces: options.surfaces,
    options: { ...options, allowedHosts: guarded ? options.allowedHosts ?? [] : undefined },
  });
  const closePool = async () => {
    if (options.pool === undefined) await pool[Symbol.asyncDispose]();
  };

  const cut = new AbortController();
  let server: Deno.HttpServer<Deno.NetAddr>;
  let listeners: Awaited<ReturnType<typeof app.listen>>;
  try {
    server = Deno.serve(
      { hostname: host, port, signal: cut.signal, onListen: () => undefined },
      (request) => app.fetch(request),
    );
  } catch (error) {
    await closePool();
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Deno.errors.AddrInUse(
      `serve: port ${port} of ${host} is taken; port 0 picks a free one`,
    );
  }
  try {
    listeners = await app.listen();
  } catch (error) {
    await server.shutdown();
    await closePool();
    throw error;
  }
  const shown = host.includes(":") ? `[${host}]` : host;
  const url = `http://${shown}:${server.addr.port}`;

  const stop = async (deadlineMs?: number) => {
    const cancelled = await app.shutdown(deadlineMs);
    if (cancelled > 0) log("warn", "generations cancelled at the deadline", { cancelled });
    await Promise.all(listeners.map((listener) => listener.close()));
    const timer = setTimeout(() => cut.abort(), lastEventMs);
    await server.shutdown();
    clearTimeout(timer);
    await server.finished;
    await closePool();
  };
  const finished = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const shutdown = (deadlineMs?: number) => {
    if (stopping === undefined) {
      stopping = stop(deadlineMs);
      stopping.then(finished.resolve, finished.reject);
      // Whoever called `shutdown` is told of its failure; `finished` need not be watched.
      finished.promise.catch(() => undefined);
    }
    return stopping;
  };
  return {
    url,
    port: server.addr.port,
    listeners: listeners.map((listener) => listener.address),
    pool,
    fetch: app.fetch,
    finished: finished.promise,
    shutdown,
    [Symbol.asyncDispose]: () => shutdown(0),
  };
}
