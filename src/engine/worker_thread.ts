/**
 * When a Worker's thread has really ended. `terminate` and `close` return before that, and the thread's last act is to unload the GPU's
 * driver: a process that calls `exit` meanwhile runs the driver's exit handlers out of memory that is being unmapped, and crashes.
 * @module
 */

/** Milliseconds to wait for a thread that cannot be watched: it ends some 20 ms after its isolate. */
const UNWATCHED_MS = 100;
/** Milliseconds between two looks. */
const LOOK_MS = 2;
/** Deno gives `/proc` to programs that may do everything; asking others would be a question on the user's terminal. */
const permissions = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;

/** The kernel's number of the thread that this runs on; undefined where it cannot be told. */
export function threadId(): string | undefined {
  if (Deno.build.os !== "linux") return;
  if (permissions.some((name) => Deno.permissions.querySync({ name }).state !== "granted")) return;
  try {
    return Deno.readLinkSync("/proc/thread-self").split("/").at(-1);
  } catch {
    return;
  }
}

/** Resolves when the thread `id` of this process has ended, or after `limitMs`; after a moment where it has no number. */
export async function threadEnd(id: string | undefined, limitMs: number): Promise<void> {
  if (id === undefined) return await delay(Math.min(UNWATCHED_MS, limitMs));
  const until = performance.now() + limitMs;
  while (isAlive(id) && performance.now() < until) await delay(LOOK_MS);
}

function isAlive(id: string): boolean {
  try {
    Deno.lstatSync(`/proc/self/task/${id}`);
    return true;
  } catch {
    return false;
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
