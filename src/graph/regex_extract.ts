import { FewAtATime, type Turn } from "../common/few_at_a_time.ts";
import { GraphError } from "./graph_error.ts";
import { runProcess } from "./run_process.ts";

/**
 * Seconds of processor time a client's pattern may take: on 64 KB of text it either ends within a few milliseconds or practically never. Where
 * the system sets no such limit (Windows) only the next one holds.
 */
const TIME_LIMIT_S = 1;
/** Milliseconds within which its process has to end: it starts in 50 when the machine is idle, in over a second when it is busy. */
const WALL_LIMIT_MS = 20_000;
/** Processes at a time; more patterns wait. One takes about 40 MB. */
const MAX_PROCESSES = 4;

const processes = new FewAtATime(MAX_PROCESSES, Infinity);

/** Characters of a pattern that may be compiled in place: a class escape takes 10 µs of that, and with the flags i and u some 100. */
const longestCheap = 512;

/**
 * Whether a pattern may run in place on a text of up to 4096 characters: with one quantifier, and none on a group, it costs at most their
 * square (about 10 ms); with none, 2 ** 8 ways from each of them. Every alternative doubles the ways, and a back reference adds a power.
 */
function isCheap(pattern: string, flags: string, text: string): boolean {
  if (pattern.length > longestCheap || /[uv]/.test(flags)) return false;
  if (text.length > 4096 || /\\[1-9k]/.test(pattern)) return false;
  const bare = pattern.replace(/\\./g, "x").replace(/\[[^\]]*\]/g, "x").replace(/\(\?/g, "(");
  const quantifiers = bare.replace(/([*+?}])\?/g, "$1").match(/[*+?{]/g)?.length ?? 0;
  const alternatives = bare.match(/\|/g)?.length ?? 0;
  if (quantifiers === 0) return alternatives <= 8;
  return quantifiers === 1 && alternatives === 0 && !/\)[*+?{]/.test(bare);
}

/** Runs without permissions; it is told `pattern` and the rest by its standard input and prints the match as JSON. */
const source = `
const { text, pattern, flags, group } = JSON.parse(await new Response(Deno.stdin.readable).text());
const execute = ${execute};
console.log(JSON.stringify(execute(text, pattern, flags, group)));`;

/**
 * The group of the first match of a client's pattern. Patterns that may backtrack run in a process that is killed
 * when time is up, so that no pattern stops the server or keeps a core. Rejects with `GraphError`: failed when nothing
 * matches, timeout when it takes longer than a second; and with the reason of the turn's signal.
 */
export async function extractRegex(
  text: string,
  pattern: string,
  flags: string,
  group?: number | string,
  turn?: Turn,
): Promise<string> {
  const inProcess = () => executeInProcess({ text, pattern, flags, group }, turn?.signal);
  const value = isCheap(pattern, flags, text)
    ? execute(text, pattern, flags, group)
    : await processes.run("patterns", inProcess, turn);
  if (value === null) {
    const where = group === undefined ? "" : ` with a group ${group}`;
    throw new GraphError("failed", `transform regex: nothing matches /${pattern}/${flags}${where}`);
  }
  return value;
}

function execute(
  text: string,
  pattern: string,
  flags: string,
  group?: number | string,
): string | null {
  const match = new RegExp(pattern, flags).exec(text);
  if (!match) return null;
  const value = typeof group === "string"
    ? match.groups?.[group]
    : match[group ?? (match.length > 1 ? 1 : 0)];
  return value ?? null;
}

async function executeInProcess(
  request: { text: string; pattern: string; flags: string; group?: number | string },
  signal?: AbortSignal,
): Promise<string | null> {
  const deno = [Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-config", "--no-lock"];
  const command = [...deno, `data:text/javascript,${encodeURIComponent(source)}`];
  // The system's limit holds where the server dies first, too.
  const [program, ...args] = Deno.build.os === "windows"
    ? command
    : ["sh", "-c", `ulimit -t ${TIME_LIMIT_S}; ulimit -c 0; exec "$@"`, "sh", ...command];
  // Of a character JSON makes six at most.
  const limits = { ms: WALL_LIMIT_MS, bytes: 6 * request.text.length + 1024, signal };
  const { stdout, stderr, status, ended } = await runProcess(program, { args }, request, limits)
    .catch((error) => {
      throw new GraphError("unavailable", `transform regex: ${program}: ${error.message}`);
    });
  if (ended === "cancelled") throw signal?.reason;
  if (ended === "timeout" || status.signal === "SIGXCPU" || status.signal === "SIGKILL") {
    throw new GraphError(
      "timeout",
      `transform regex: /${request.pattern}/ ran over ${TIME_LIMIT_S * 1000} ms`,
    );
  }
  if (!status.success) {
    const why = /^error: (.*)$/m.exec(stderr)?.[1] ?? `exit code ${status.code}`;
    throw new GraphError("failed", `transform regex: /${request.pattern}/: ${why}`);
  }
  return JSON.parse(stdout);
}
