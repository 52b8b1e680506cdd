import { asError } from "../common/as_error.ts";
import { log } from "../common/log.ts";

/** Milliseconds before it is tried again to listen. */
const pauseMs = 500;

/** A port that is listened on. */
export interface SteadyListener {
  readonly port: number;
  /** Resolves once the signal has ended it. */
  readonly finished: Promise<void>;
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
  const first = listen(port);
  const bound = first.addr.port;
  const again = async () => {
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      try {
        if (!signal.aborted) return listen(bound);
      } catch {
        // Still for the reason that was told.
      }
    }
    return undefined;
  };
  const finished = (async () => {
    for (let server: Deno.HttpServer | undefined = first; server; server = await again()) {
      try {
        return await server.finished;
      } catch (error) {
        const { message } = asError(error);
        log("error", "connections are refused for a moment", { port: bound, error: message });
      }
    }
  })();
  return { port: bound, finished };
}
