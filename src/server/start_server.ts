import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";
import { type App, createApp } from "./app.ts";
import type { Surface } from "./context.ts";
import { Departures } from "./departures.ts";
import { isLoopback } from "./host_name.ts";
import { listenSteadily, type SteadyListener } from "./listen_steadily.ts";
import { openPool } from "./open_pool.ts";
import type { RunningServer, ServeOptions } from "./serve.ts";

/** Time that cancelled streams get to send their last event before their connections are cut. */
const lastEventMs = 1_000;
/**
 * Time from the last answer until connections are cut: Deno (2.9) takes an answer that is whole for completed before it is sent. It then lies with
 * the system, which sends it whoever has closed the connection; a client on the same machine had it 6 times of 6 after 5 ms, and never after 0.
 */
const sendingMs = 50;

/** Throws `TypeError` for an address that other machines reach, without a key and without `insecure`. */
export function checkBind({ host = "127.0.0.1", apiKeys = [], insecure }: ServeOptions): void {
  if (isLoopback(host) || apiKeys.length > 0 || insecure) return;
  throw new TypeError(
    `serve: ${host} is reachable by other machines: give an API key, or say insecure to do without`,
  );
}

/** `serve`, with the surfaces given. */
export async function startServer(
  options: ServeOptions,
  surfaces: Surface[],
): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 8080 } = options;
  checkBind(options);
  const guarded = isLoopback(host) && (options.apiKeys?.length ?? 0) === 0;
  const pool = options.pool ?? await openPool(options);
  const closePool = async () => {
    if (options.pool === undefined) await pool[Symbol.asyncDispose]();
  };
  let app: App;
  try {
    app = createApp({
      pool,
      surfaces,
      options: { ...options, allowedHosts: guarded ? options.allowedHosts ?? [] : undefined },
    });
  } catch (error) {
    await closePool();
    throw error;
  }

  const cut = new AbortController();
  const open = new Set<Promise<void>>();
  let answeredAt = -Infinity;
  let server: SteadyListener;
  const departures = new Departures(() => server.port);
  let listeners: Awaited<ReturnType<typeof app.listen>>;
  try {
    server = listenSteadily({ hostname: host, port, signal: cut.signal }, (request, info) => {
      const sent = info.completed.catch(() => undefined).finally(() => {
        open.delete(sent);
        answeredAt = performance.now();
      });
      open.add(sent);
      return departures.answer(request, info.remoteAddr, app.fetch);
    });
  } catch (error) {
    await app.shutdown(0);
    await closePool();
    if (!(error instanceof Deno.errors.AddrInUse)) {
      const { message } = asError(error);
      throw new Error(`serve: port ${port} of ${host}: ${message}`, { cause: error });
    }
    throw new Deno.errors.AddrInUse(
      `serve: port ${port} of ${host} is taken; port 0 picks a free one`,
    );
  }
  try {
    listeners = await app.listen();
  } catch (error) {
    cut.abort();
    await server.finished;
    await app.shutdown(0);
    await closePool();
    throw error;
  }
  const shown = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const url = `http://${shown}:${server.port}`;

  const stop = async (deadlineMs?: number) => {
    const cancelled = await app.shutdown(deadlineMs);
    if (cancelled > 0) log("warn", "generations cancelled at the deadline", { cancelled });
    await Promise.all(listeners.map((listener) => listener.close()));
    // Not by the server's own shutdown: what that has begun, the signal cannot end (Deno 2.9 throws BadResource where nobody can catch it).
    await emptied(open, lastEventMs);
    const left = answeredAt + sendingMs - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    cut.abort();
    await server.finished;
    await departures.ended();
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
    port: server.port,
    listeners: listeners.map((listener) => listener.address),
    pool,
    fetch: app.fetch,
    finished: finished.promise,
    shutdown,
    [Symbol.asyncDispose]: () => shutdown(0),
  };
}

/** Resolves when all of them have ended, those too that are added meanwhile, or after `ms` milliseconds. */
async function emptied(open: ReadonlySet<Promise<void>>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), ms);
  while (open.size > 0) if (await Promise.race([late, Promise.all(open)]) === "late") break;
  clearTimeout(timer);
}
