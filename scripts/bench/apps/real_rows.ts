import { fromFileUrl } from "@std/path";
import { HostedEnginePool } from "../../../src/engine/engine_pool.ts";
import type { EnginePool } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/graph/clock.ts";
import { describeSession } from "../../../src/graph/describe_session.ts";
import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { BenchContext } from "../harness.ts";
import { type Caller, GraphCaller, RequestCaller } from "./caller.ts";
import { EngineCalibration, type FittedEngine } from "./engine_calibration.ts";
import type { MixedResult } from "./mixed.ts";
import { processorRows } from "./processor_rows.ts";
import { type Mode, simulate } from "./sim_world.ts";
import { smallApplications } from "./small_applications.ts";
import type { Texts } from "./texts.ts";

type Run = (caller: Caller, each: () => Caller) => Promise<unknown>;

/** Runs the applications on the embedded model; leaves rows out, with a word, where no engine can be opened. */
export async function realRows(context: BenchContext, texts: Texts): Promise<void> {
  const path = fromFileUrl(new URL("../../../models/sparrow-tiny.gguf", import.meta.url));
  await using pool = new HostedEnginePool({ models: [{ id: "sparrow-tiny", model: { path } }] });
  try {
    await pool.models();
  } catch (error) {
    context.note(`apps: no engine (${(error as Error).message}): the real rows are left out`);
    return;
  }
  const calibration = new EngineCalibration(pool, texts);
  await calibration.warmUp();
  const measured: Measured[] = [];
  for (const [name, run] of Object.entries(smallApplications(texts))) {
    await calibration.sample();
    for (const roundTripMs of [0, 250]) {
      measured.push(await measure(pool, { name, run, roundTripMs }, context.full));
    }
  }
  await calibration.sample();
  const fitted = calibration.fit();
  context.note(`apps: fitted ${JSON.stringify(fitted(1))}`);
  for (const each of measured) await report(context, fitted, each);
  if (context.full) await processorRows(context, pool, texts, smallApplications(texts));
}

interface Case {
  name: string;
  run: Run;
  roundTripMs: number;
}

/** Shortest times of a case, in milliseconds. */
interface Measured extends Case {
  graph: number;
  requests: number;
  /** Request by request with the prefix cache on; only where asked for. */
  cached: number | undefined;
  /** Tokens of all prompts of the graph, as the engine counts them. */
  promptTokens: number;
}

/**
 * Runs a case in interleaved rounds and keeps the shortest times: whatever else the machine does can only add to
 * them. Throws when the graph's answers are not those of request by request.
 */
async function measure(pool: EnginePool, one: Case, full: boolean): Promise<Measured> {
  const { name, run, roundTripMs } = one;
  const best = { graph: Infinity, requests: Infinity, cached: Infinity };
  let promptTokens = 0;
  const timed = async (kind: keyof typeof best, work: () => Promise<unknown>) => {
    const start = performance.now();
    const value = await work();
    best[kind] = Math.min(best[kind], timeOf(value, performance.now() - start));
    return JSON.stringify(value);
  };
  for (let round = 0; round < (full ? 5 : 1); round++) {
    // A tenant of its own: nothing of an earlier round is in the cache.
    const tenant = crypto.randomUUID();
    const byRequest = (uncached: boolean) => () => {
      const rest = { criteria: "latency", cacheScope: `${tenant}r` } as const;
      const each = () => new RequestCaller(pool, systemClock, roundTripMs, rest, uncached);
      return run(each(), each);
    };
    const answers = await timed("graph", async () => {
      await using graph = new GraphRuntime({ pool });
      const callers: GraphCaller[] = [];
      const each = () => {
        const caller = new GraphCaller(graph, roundTripMs, tenant);
        callers.push(caller);
        return caller;
      };
      const value = await run(each(), each);
      promptTokens = callers.reduce(
        (sum, { session }) => sum + describeSession(session).totals.prompt_tokens,
        0,
      );
      return value;
    });
    const others = await timed("requests", byRequest(true));
    if (name !== "mixed" && answers !== others) {
      throw new Error(`apps/${name}: the graph's answers are not those of request by request`);
    }
    if (full) await timed("cached", byRequest(false));
  }
  return { ...one, ...best, cached: full ? best.cached : undefined, promptTokens };
}

async function report(
  context: BenchContext,
  fitted: FittedEngine,
  measured: Measured,
): Promise<void> {
  const { name, run, roundTripMs, graph, requests, cached } = measured;
  const row = (metric: string, value: number, baseline: string, unit = "x") =>
    context.report({
      case: `${name}_real_rtt${roundTripMs}`,
      metric,
      value,
      unit,
      baseline,
      ratio: value,
    });
  const ms = (time: number) => `${time.toFixed(0)} ms`;
  row("speedup_vs_requests", requests / graph, `${ms(requests)}, graph ${ms(graph)}`);
  if (cached !== undefined) {
    row("speedup_vs_requests_cached", cached / graph, `${ms(cached)}, prefix cache on`);
  }
  // How many tokens a text has is the vocabulary's matter, not the engine's: it is taken from the run itself.
  const options = { roundTripMs: 0, sharedAttention: "once" } as const;
  const sized = await simulate({ kind: "graph" }, { ...fitted(1), ...options }, run);
  const engine = fitted(measured.promptTokens / sized.promptTokens);
  const predict = async (mode: Mode) => {
    const result = await simulate(mode, { ...engine, ...options }, run);
    return timeOf(result.value, result.ms);
  };
  const ideal = await predict({ kind: "graph" });
  row(
    "share_of_ideal",
    ideal / graph,
    `${ms(ideal)}, the fitted model's own schedule without a client`,
  );
  if (roundTripMs > 0) {
    // The ideal has no client in it; every client has to send the graph and to get the answer.
    row(
      "share_of_ideal_and_trip",
      (ideal + roundTripMs) / graph,
      `${ms(ideal)} and one round trip`,
    );
    return;
  }
  const error = (model: number, real: number, metric: string) =>
    row(
      metric,
      Math.abs(model - real) / real,
      `${ms(model)} predicted, ${ms(real)} measured`,
      "share of the time",
    );
  error(ideal, graph, "graph_prediction_error");
  error(await predict({ kind: "throughput_first" }), requests, "requests_prediction_error");
}

/** What counts as an application's time: until its last answer, or, for many clients side by side, their mean. */
function timeOf(value: unknown, wallMs: number): number {
  const mean = (value as Partial<MixedResult> | undefined)?.completionMs;
  return mean ?? wallMs;
}
