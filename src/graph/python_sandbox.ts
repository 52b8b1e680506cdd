import { FewAtATime } from "../common/few_at_a_time.ts";
import { log } from "../common/log.ts";
import { GraphError } from "./graph_error.ts";
import type { NativeFunctions, NativeRequest } from "./native_functions.ts";
import { pythonCommand, pythonPlace } from "./python_command.ts";
import guard from "./python_guard.py" with { type: "text" };
import main from "./python_sandbox.py" with { type: "text" };
import { type ProcessResult, runProcess } from "./run_process.ts";

/** Address space of a function's process: CPython itself takes about 20 MB. */
const MEMORY_BYTES = 512 * 1024 * 1024;
/** Bytes of results. */
const MAX_RESULT_BYTES = 16 * 1024 * 1024;
/** Milliseconds for the interpreter to start, beyond the function's own time (40 ms when idle, more under load). */
const START_MS = 3000;
/** Functions running at a time; more wait. */
const MAX_PROCESSES = 4;

const script = `${guard}\n${main}`;
let warned = false;

/**
 * Runs clients' Python functions, each in a CPython process of its own: no network (a network namespace, where the
 * system grants one), no privileges, no new processes, no files written, bounded memory, processor and wall time, and, by a filter of
 * system calls where there is one (Linux of x86_64 and aarch64, a Python with ctypes), no sockets, no signals to others, no files made or
 * removed, no memory shared, no end after the server's. Code objects are specific to CPython's minor version: `python` must be the client's.
 */
export function pythonSandbox(python = "python3"): NativeFunctions {
  const processes = new FewAtATime(MAX_PROCESSES, Infinity);
  return {
    async run(request, turn) {
      const command = await pythonCommand(python);
      const run = () => runOnce(command, request, turn.signal);
      return await processes.run("functions", run, turn);
    },
  };
}

async function runOnce(
  command: string[],
  request: NativeRequest,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const [program, ...args] = command;
  const options = { ...pythonPlace, args: [...args, "-I", "-S", "-c", script] };
  const limits = { ms: request.timeoutMs + START_MS, bytes: MAX_RESULT_BYTES, signal };
  let result: ProcessResult;
  try {
    result = await runProcess(program, options, {
      name: request.name,
      code: request.code,
      arguments: request.arguments,
      outputs: request.outputs,
      cpu_seconds: Math.ceil(request.timeoutMs / 1000),
      memory_bytes: MEMORY_BYTES,
    }, limits);
  } catch (error) {
    throw new GraphError(
      "unavailable",
      `Native functions: ${program}: ${(error as Error).message}`,
    );
  }
  const { stdout, stderr, status, ended } = result;
  const killed = status.signal === "SIGXCPU" || status.signal === "SIGKILL";
  if (ended === "cancelled") {
    throw new GraphError("cancelled", `Native function ${request.name} was stopped`);
  }
  if (ended === "limit") {
    throw new GraphError(
      "limit",
      `Native function ${request.name} has results of over ${MAX_RESULT_BYTES} bytes`,
    );
  }
  if (ended === "timeout" || (!status.success && killed)) {
    throw new GraphError(
      "timeout",
      `Native function ${request.name} ran over its ${request.timeoutMs} ms`,
    );
  }
  return readResult(request, stdout, stderr, status);
}

function readResult(
  request: NativeRequest,
  stdout: string,
  stderr: string,
  status: Deno.CommandStatus,
): Record<string, string> {
  if (!status.success || stdout === "") {
    const last = stderr.trim().split("\n").at(-1) || status.signal || `exit code ${status.code}`;
    throw new GraphError(
      "failed",
      `Native function ${request.name} could not be run: ${last}. Its code object must come from ` +
        "the minor version of CPython that the server runs.",
    );
  }
  const { error, values: set, unguarded } = parsedResult(request, stdout);
  if (typeof unguarded === "string" && !warned) {
    warned = true;
    log("warn", "native functions run without a filter of system calls", { error: unguarded });
  }
  if (typeof error === "string") {
    throw new GraphError("failed", `Native function ${request.name} raised ${error}`);
  }
  if (typeof set !== "object" || set === null) throw noResult(request);
  const values: Record<string, string> = {};
  for (const name of request.outputs) {
    const value: unknown = Object.hasOwn(set, name) ? Reflect.get(set, name) : undefined;
    if (value === null) {
      throw new GraphError("failed", `Native function ${request.name} did not set ${name}`);
    }
    if (typeof value !== "string") throw noResult(request);
    Object.defineProperty(values, name, { value, enumerable: true });
  }
  return values;
}

/** What the process printed as an object. The function may have found the descriptor and written anything: nothing is taken for granted. */
function parsedResult(
  request: NativeRequest,
  stdout: string,
): { error?: unknown; values?: unknown; unguarded?: unknown } {
  let result: unknown;
  try {
    result = JSON.parse(stdout);
  } catch {
    throw noResult(request);
  }
  if (typeof result !== "object" || result === null) throw noResult(request);
  return result;
}

function noResult({ name }: NativeRequest): GraphError {
  return new GraphError(
    "failed",
    `Native function ${name} wrote something else than its result, expected a text for each output`,
  );
}
