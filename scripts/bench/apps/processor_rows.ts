import type { EnginePool } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/graph/clock.ts";
import { describeSession } from "../../../src/graph/describe_session.ts";
import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { BenchContext } from "../harness.ts";
import { type Caller, GraphCaller, RequestCaller } from "./caller.ts";
import {
  fitEngine,
  generate,
  generateSharing,
  limitsOf,
  PROMPTS,
  type PromptTimes,
  ROWS,
  SHORT_TOKENS,
} from "./engine_calibration.ts";
import { type Mode, requestByRequest, simulate } from "./sim_world.ts";
import type { Texts } from "./texts.ts";

type Run = (caller: Caller, each: () => Caller) => Promise<unknown>;

/** Tokens of a generation whose decode steps are measured: a process's time is counted in ticks of 10 ms. */
const DECODE_TOKENS = 64;
const REPEATS = 4;

/**
 * How far the cost model, fitted to an engine's processor time, is from the processor time of whole applications: what other work on the
 * machine cannot disturb. Needs the engine to be the only child process, and Linux.
 */
export async function processorRows(
  context: BenchContext,
  pool: EnginePool,
  texts: Texts,
  applications: Record<string, Run>,
): Promise<void> {
  const host = await childProcess();
  if (host === undefined) {
    context.note("apps: no /proc here: processor time is not compared");
    return;
  }
  const cost = async (work: () => Promise<unknown>, repeats = REPEATS) => {
    const before = await processorMs(host);
    for (let i = 0; i < repeats; i++) await work();
    return (await processorMs(host) - before) / repeats;
  };
  const side = (rows: number, tokens: number) => () =>
    Promise.all(Array.from({ length: rows }, () => generate(pool, texts, SHORT_TOKENS, tokens)));
  const steps: [number, number][] = [];
  for (const rows of ROWS) {
    const first = await cost(side(rows, 1));
    steps.push([rows, (await cost(side(rows, DECODE_TOKENS)) - first) / (DECODE_TOKENS - 1)]);
  }
  const prompts: PromptTimes[] = [];
  for (const tokens of PROMPTS) {
    const fillMs = await cost(() => generate(pool, texts, tokens, 1), 2 * REPEATS);
    const all = await cost(() => generate(pool, texts, tokens, DECODE_TOKENS));
    prompts.push({ tokens, fillMs, stepMs: (all - fillMs) / (DECODE_TOKENS - 1) });
  }
  const scope = crypto.randomUUID();
  const sharing = (tokens: number) => () => generateSharing(pool, texts, tokens, scope);
  await sharing(1)();
  const sharedFirst = await cost(sharing(1));
  const sharingMs = (await cost(sharing(DECODE_TOKENS)) - sharedFirst) / (DECODE_TOKENS - 1);
  const fitted = fitEngine(steps, prompts, sharingMs, await limitsOf(pool));
  for (const [name, run] of Object.entries(applications)) {
    for (const kind of ["graph", "requests"] as const) {
      // What the engine counts holds fills ahead as well, which are the same tokens once more.
      let ofCalls = 0;
      // A tenant of its own each time: nothing is in the cache.
      const work = async () => {
        const tenant = crypto.randomUUID();
        if (kind === "graph") {
          await using graph = new GraphRuntime({ pool });
          const callers: GraphCaller[] = [];
          const each = () => {
            const caller = new GraphCaller(graph, 0, tenant);
            callers.push(caller);
            return caller;
          };
          await run(each(), each);
          for (const { session } of callers) {
            ofCalls += describeSession(session).totals.prompt_tokens;
          }
        } else {
          const each = () => new RequestCaller(pool, systemClock, 0, { cacheScope: tenant }, true);
          await run(each(), each);
        }
      };
      const tokens = await promptTokensOf(pool);
      const real = await cost(work, 2);
      const promptTokens = (ofCalls || await promptTokensOf(pool) - tokens) / 2;
      const mode: Mode = kind === "graph" ? { kind } : requestByRequest;
      const options = { roundTripMs: 0, sharedAttention: "once" } as const;
      const sized = await simulate(mode, { ...fitted(1), ...options }, run);
      const engine = fitted(promptTokens / sized.promptTokens);
      const model = (await simulate(mode, { ...engine, ...options }, run)).busyMs;
      context.report({
        case: `${name}_real_rtt0`,
        metric: kind === "graph"
          ? "graph_prediction_error_processor"
          : "requests_prediction_error_processor",
        value: Math.abs(model - real) / real,
        unit: "share of the time",
        baseline: `${model.toFixed(0)} ms predicted, ${
          real.toFixed(0)
        } ms of processor time a core`,
      });
    }
  }
}

/** Tokens of all prompts so far; a host's load arrives a moment after its last step. */
async function promptTokensOf(pool: EnginePool): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  return pool.load()[0].promptTokens;
}

/** The first child of this process. */
async function childProcess(): Promise<string | undefined> {
  try {
    for await (const { name } of Deno.readDir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const fields = await statOf(name).catch(() => undefined);
      if (fields && Number(fields[1]) === Deno.pid) return name;
    }
  } catch { /* no /proc */ }
  return undefined;
}

/** Milliseconds that all threads of a process have run, over the processors of this machine. */
async function processorMs(pid: string): Promise<number> {
  const fields = await statOf(pid);
  return (Number(fields[11]) + Number(fields[12])) * 10 / navigator.hardwareConcurrency;
}

/** The fields of `/proc/PID/stat` after the command's name: state, parent, … */
async function statOf(pid: string): Promise<string[]> {
  const text = await Deno.readTextFile(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
