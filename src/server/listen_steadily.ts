import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";

/** Milliseconds before it is tried again to listen. */
const pauseMs = 500;

/** A port that is listened on. */
export interface SteadyListener {
  readonly port: number;
  /** Resolves once the signal or `end` has ended it. */
  readonly finished: Promise<void>;
  /**
   * Takes no more connections, sends what was answered, and resolves when that is done, or after `ms`: what clients have not read by then is theirs
   * to read while the process lives, as the signal cannot cut it any more (Deno 2.9 throws BadResource where nobody can catch it).
   */
  end(ms: number): Promise<void>;
}

/**
 * `Deno.serve` that goes on where it gives up. It stops accepting for good when one connection cannot be accepted, as when the process has no file
 * descriptor left (2.9), and ends the process unless that is caught; connections that are open are still answered, so the port is listened on anew.
 * Throws what `Deno.serve` throws.
 */
export function listenSteadily(
  { hostname, port, signal }: { hostname: string; port: number; signal: AbortSignal },
  handler: Deno.ServeHandler<Deno.NetAddr>,
): SteadyListener {
  const listen = (port: number) =>
    Deno.serve({ hostname, port, signal, onListen: () => undefined }, handler);
  let server: Deno.HttpServer<Deno.NetAddr> | undefined = listen(port);
  const bound = server.addr.port;
  let ending = false;
  const again = async () => {
    while (!signal.aborted && !ending) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        if (!signal.aborted && !ending) return listen(bound);
      } catch {
        // Still for the reason that was told.
      }
    }
    return undefined;
  };
  const finished = (async () => {
    for (; server; server = await again()) {
      try {
        return await server.finished;
      } catch (error) {
        const { message } = asError(error);
        log("error", "connections are refused for a moment", { port: bound, error: message });
      }
    }
  })();
  const end = async (ms: number) => {
    ending = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    const last = server;
    const sent = Promise.all([last?.shutdown(), finished]).then(() => clearTimeout(timer));
    sent.catch(() => undefined);
    await Promise.race([sent, late]);
    last?.unref();
  };
  return { port: bound, finished, end };
}
