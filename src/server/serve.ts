import type { EnginePool } from "../engine/types.ts";
import { checkPython } from "./check_python.ts";
import type { PoolOptions } from "./open_pool.ts";
import type { ApplicationOptions, AppOptions, FetchHandler } from "./options.ts";
import { startServer } from "./start_server.ts";
import { defaultSurfaces } from "./surfaces.ts";

/** What `serve` can be told: the application's options, where to listen, and what to serve. */
export interface ServeOptions extends AppOptions, ApplicationOptions, PoolOptions {
  /** Address to bind. Default 127.0.0.1; any other than loopback needs `apiKeys` or `insecure`. */
  host?: string;
  /** Port to bind, 0 for any free one. Default 8080. */
  port?: number;
  /** Allow a bind beyond loopback without a key. */
  insecure?: boolean;
  /** The engines; opened from `models` and closed at the end when absent. A given pool is left open. */
  pool?: EnginePool;
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

/**
 * Serves on a port. Resolves as soon as it listens: `/ready` tells when the models have loaded. Rejects with
 * `TypeError` without `models` or a `pool`, for a bind beyond loopback without a key or a `python` that is none, `RangeError` for options out of range, `Deno.errors.AddrInUse` when the port is taken, and an `Error` that names the
 * address when it cannot be bound otherwise.
 */
export async function serve(options: ServeOptions = {}): Promise<RunningServer> {
  if (options.allowNativeCalls) await checkPython(options.python);
  return await startServer(options, defaultSurfaces(options));
}
