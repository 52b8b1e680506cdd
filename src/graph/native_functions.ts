import type { Turn } from "../common/few_at_a_time.ts";

/** One call of a client's function. */
export interface NativeRequest {
  name: string;
  /** Marshalled code object, base64. */
  code: string;
  arguments: Record<string, unknown>;
  /** Names of the parameters it must set. */
  outputs: string[];
  timeoutMs: number;
}

/** Runs functions that clients send. */
export interface NativeFunctions {
  /** Resolves to the text of every output. Rejects with `GraphError`: failed, timeout, cancelled. */
  run(
    request: NativeRequest,
    turn: Turn & { signal: AbortSignal },
  ): Promise<Record<string, string>>;
}
