/** Why a process was killed: out of time, its signal was aborted, or it printed too much. */
export type Ended = "timeout" | "cancelled" | "limit";

/** What a process left behind. */
export interface ProcessResult {
  stdout: string;
  /** The first 64 KiB. */
  stderr: string;
  status: Deno.CommandStatus;
  ended?: Ended;
}

/** What a process may take. */
export interface ProcessLimits {
  /** Milliseconds of wall time, its start included. */
  ms: number;
  /** Bytes of standard output. */
  bytes: number;
  /** Kills it when aborted. */
  signal?: AbortSignal;
}

/**
 * Runs a program once, with `request` as JSON for its standard input. Unlike a worker, which `terminate` cannot take out of a loop or a
 * regular expression, a process always ends. Rejects with what starting it throws.
 */
export async function runProcess(
  program: string,
  options: Pick<Deno.CommandOptions, "args" | "cwd" | "env" | "clearEnv">,
  request: unknown,
  { ms, bytes, signal }: ProcessLimits,
): Promise<ProcessResult> {
  const child = new Deno.Command(program, {
    ...options,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let ended: Ended | undefined;
  const stop = (why: Ended) => {
    ended ??= why;
    try {
      child.kill("SIGKILL");
    } catch (error) {
      // It ended by itself in the meantime.
      if (!(error instanceof TypeError)) throw error;
    }
  };
  const cancel = () => stop("cancelled");
  signal?.addEventListener("abort", cancel);
  const timer = setTimeout(() => stop("timeout"), ms);
  try {
    const [stdout, stderr, status] = await Promise.all([
      collect(child.stdout, bytes, () => stop("limit")),
      collect(child.stderr, 65536, () => {}),
      child.status,
      feed(child.stdin, request),
    ]);
    return { stdout, stderr, status, ended };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

async function feed(stdin: WritableStream<Uint8Array>, request: unknown): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(JSON.stringify(request)));
    await writer.close();
  } catch (error) {
    // The process ended before it had read everything: its status says why.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  limit: number,
  exceeded: () => void,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > limit) {
      exceeded();
      continue;
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
