import type { FromHost, ToHost } from "./host_messages.ts";

/** A live host, seen from outside. */
export interface Carrier {
  send(message: ToHost): void;
  /** Resolves when the host is gone, however that came, with the reason in words. */
  readonly gone: Promise<string>;
  /** Ends the host at once. */
  kill(): void;
}

/** Starts a host whose messages go to `onMessage`. */
export type CarrierFactory = (onMessage: (message: FromHost) => void) => Carrier;
