import { FewAtATime, type Turn } from "../common/few_at_a_time.ts";
import { GraphError } from "./graph_error.ts";

/** How long a client's pattern may run: on 64 KB of text it either ends within a few milliseconds or practically never. */
const TIME_LIMIT_MS = 1000;
/** How long its worker may take to start: 30 ms when idle, over a second on a machine that is busy. */
const START_LIMIT_MS = 20_000;
/**
 * Workers at a time; more patterns wait. One takes about 8 MB and 35 ms: the outputs of a map of 200 calls, all at once, took 1.5 GB, and the
 * starts of 1,000 would run over their limit.
 */
const MAX_WORKERS = 4;

const workers = new FewAtATime(MAX_WORKERS, Infinity);

/**
 * Whether a pattern may run in place on a text of up to 4096 characters: with one quantifier, and none on a group, it costs at most their
 * square (about 10 ms); with none, 2 ** 8 ways from each of them. Every alternative doubles the ways, and a back reference adds a power.
 */
function isCheap(pattern: string, text: string): boolean {
  if (text.length > 4096 || /\\[1-9k]/.test(pattern)) return false;
  const bare = pattern.replace(/\\./g, "x").replace(/\[[^\]]*\]/g, "x").replace(/\(\?/g, "(");
  const quantifiers = bare.replace(/([*+?}])\?/g, "$1").match(/[*+?{]/g)?.length ?? 0;
  const alternatives = bare.match(/\|/g)?.length ?? 0;
  if (quantifiers === 0) return alternatives <= 8;
  return quantifiers === 1 && alternatives === 0 && !/\)[*+?{]/.test(bare);
}

const workerSource = `
onmessage = ({ data: { text, pattern, flags, group } }) => {
  const match = new RegExp(pattern, flags).exec(text);
  const value = match === null ? null
    : typeof group === "string" ? match.groups?.[group] : match[group ?? (match.length > 1 ? 1 : 0)];
  postMessage(value ?? null);
};
postMessage("ready");`;

/**
 * The group of the first match of a client's pattern. Patterns that may backtrack run in a worker that is ended
 * when time is up, so that no pattern stops the server. Rejects with `GraphError`: failed when nothing
 * matches, timeout when it takes longer than a second; and with the reason of the turn's signal.
 */
export async function extractRegex(
  text: string,
  pattern: string,
  flags: string,
  group?: number | string,
  turn?: Turn,
): Promise<string> {
  const inWorker = () => executeInWorker(text, pattern, flags, group, turn?.signal);
  const value = isCheap(pattern, text)
    ? execute(text, pattern, flags, group)
    : await workers.run("patterns", inWorker, turn);
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

async function executeInWorker(
  text: string,
  pattern: string,
  flags: string,
  group?: number | string,
  signal?: AbortSignal,
): Promise<string | null> {
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let giveUp = () => {};
  try {
    return await new Promise<string | null>((resolve, reject) => {
      giveUp = () => reject(signal?.reason);
      signal?.addEventListener("abort", giveUp);
      const within = (ms: number) => {
        clearTimeout(timer);
        timer = setTimeout(
          () =>
            reject(new GraphError("timeout", `transform regex: /${pattern}/ ran over ${ms} ms`)),
          ms,
        );
      };
      let ready = false;
      worker.onmessage = ({ data }) => {
        if (ready) return resolve(data);
        ready = true;
        within(TIME_LIMIT_MS);
        worker.postMessage({ text, pattern, flags, group });
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new GraphError("failed", `transform regex: ${event.message}`));
      };
      within(START_LIMIT_MS);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
    worker.terminate();
    URL.revokeObjectURL(url);
  }
}
