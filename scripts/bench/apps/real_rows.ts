import { fromFileUrl } from "@std/path";
import { HostedEnginePool } from "../../../src/engine/engine_pool.ts";
import type { EnginePool } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/graph/clock.ts";
import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { BenchContext } from "../harness.ts";
import { chainSummary, mapReduce, multiAgent, sharedPrompt } from "./applications.ts";
import { type Caller, GraphCaller, RequestCaller } from "./caller.ts";
import { fitCostModel, type FittedEngine } from "./fit_cost_model.ts";
import { mixed, type MixedResult } from "./mixed.ts";
import { type Mode, simulate } from "./sim_world.ts";
import type { Texts } from "./texts.ts";

type Run = (caller: Caller, each: () => Caller) => Promise<unknown>;

/** The applications at a size that a small model on a processor takes seconds for. */
function applications(texts: Texts): Record<string, Run> {
  return {
    chain: (caller) =>
      chainSummary(caller, texts, { chunks: 20, chunkTokens: 200, outputTokens: 16 }),
    map_reduce: (caller) =>
      mapReduce(caller, texts, { chunks: 16, chunkTokens: 250, outputTokens: 16 }),
    shared_prompt: (caller) =>
      sharedPrompt(caller, texts, {
        users: 8,
        systemTokens: 1000,
        queryTokens: 20,
        outputTokens: 16,
      }),
    multi_agent: (caller) =>
      multiAgent(caller, texts, {
        coders: 4,
        rounds: 3,
        designTokens: 48,
        codeTokens: 48,
        reviewTokens: 16,
      }),
    mixed: (_, each) =>
      mixed(each, texts, {
        chats: 6,
        chatRate: 4,
        summaries: 3,
        chunks: 4,
        chunkTokens: 200,
        outputTokens: 16,
      }),
  };
}

/** Runs the applications on the embedded model; leaves rows out, with a word, where no engine can be opened. */
export async function realRows(context: BenchContext, texts: Texts): Promise<void> {
  const path = fromFileUrl(new URL("../../../models/sparrow-mini.gguf", import.meta.url));
  await using pool = new HostedEnginePool({ models: [{ id: "sparrow-mini", model: { path } }] });
  try {
    await pool.models();
  } catch (error) {
    context.note(`apps: no engine (${(error as Error).message}): the real rows are left out`);
    return;
  }
  const fitted = await fitCostModel(pool, texts);
  context.note(`apps: fitted ${JSON.stringify(fitted)}`);
  for (const [name, run] of Object.entries(applications(texts))) {
    for (const roundTripMs of [0, 250]) {
      await rowsOf(context, pool, fitted, { name, run, roundTripMs });
    }
  }
}

interface Case {
  name: string;
  run: Run;
  roundTripMs: number;
}

async function rowsOf(
  context: BenchContext,
  pool: EnginePool,
  fitted: FittedEngine,
  { name, run, roundTripMs }: Case,
): Promise<void> {
  const graphMs: number[] = [];
  const requestMs: number[] = [];
  const cachedMs: number[] = [];
  const same: boolean[] = [];
  const rounds = context.full ? 7 : 2;
  // The shortest of some interleaved rounds: whatever else the machine does can only add time.
  const timed = async (times: number[], work: () => Promise<unknown>) => {
    const start = performance.now();
    const value = await work();
    times.push(timeOf(value, performance.now() - start));
    return value;
  };
  for (let round = 0; round < rounds; round++) {
    // A tenant of its own: nothing of an earlier round is in the cache.
    const tenant = crypto.randomUUID();
    const byRequest = (uncached: boolean) => () => {
      const each = () =>
        new RequestCaller(pool, systemClock, roundTripMs, {
          criteria: "latency",
          cacheScope: `${tenant}r`,
        }, uncached);
      return run(each(), each);
    };
    const answers = await timed(graphMs, async () => {
      await using graph = new GraphRuntime({ pool });
      const each = () => new GraphCaller(graph, roundTripMs, tenant);
      return await run(each(), each);
    });
    const others = await timed(requestMs, byRequest(true));
    same.push(JSON.stringify(answers) === JSON.stringify(others));
    if (context.full) await timed(cachedMs, byRequest(false));
  }
  const [graph, requests, cached] = [graphMs, requestMs, cachedMs].map((times) =>
    Math.min(...times)
  );
  const label = `${name}_real_rtt${roundTripMs}`;
  const predict = async (mode: Mode, rtt: number) => {
    const { value, ms } = await simulate(mode, { ...fitted, roundTripMs: rtt }, run);
    return timeOf(value, ms);
  };
  const ideal = await predict({ kind: "graph" }, 0);
  const row = (metric: string, value: number, baseline: string) =>
    context.report({ case: label, metric, value, unit: "x", baseline, ratio: value });
  row(
    "speedup_vs_requests",
    requests / graph,
    `${requests.toFixed(0)} ms, graph ${graph.toFixed(0)} ms`,
  );
  if (context.full) {
    row(
      "speedup_vs_requests_cached",
      cached / graph,
      `${cached.toFixed(0)} ms with the prefix cache on`,
    );
  }
  if (name !== "mixed" && same.includes(false)) {
    throw new Error(`apps/${label}: the graph's answers are not those of request by request`);
  }
  row("share_of_ideal", ideal / graph, `${ideal.toFixed(0)} ms, the fitted model's own schedule`);
  if (roundTripMs > 0) return;
  const predicted = await predict({ kind: "throughput_first" }, 0);
  for (
    const [what, model, real] of [["graph", ideal, graph], [
      "requests",
      predicted,
      requests,
    ]] as const
  ) {
    context.report({
      case: label,
      metric: `${what}_prediction_error`,
      value: Math.abs(model - real) / real,
      unit: "share of the time",
      baseline: `${model.toFixed(0)} ms predicted, ${real.toFixed(0)} ms measured`,
    });
  }
}

/** What counts as an application's time: until its last answer, or, for many clients side by side, their mean. */
function timeOf(value: unknown, wallMs: number): number {
  const mean = (value as Partial<MixedResult> | undefined)?.completionMs;
  return mean ?? wallMs;
}
