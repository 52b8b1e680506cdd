import { fromFileUrl } from "@std/path";
import { HostedEnginePool } from "../../../src/engine/engine_pool.ts";
import type { EnginePool } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/graph/clock.ts";
import { describeSession } from "../../../src/graph/describe_session.ts";
import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { BenchContext } from "../harness.ts";
import { median } from "../../../src/common/math.ts";
import { type Caller, GraphCaller, RequestCaller } from "./caller.ts";
import { EngineCalibration, type FittedEngine } from "./engine_calibration.ts";
import type { MixedResult } from "./mixed.ts";
import { processorRows } from "./processor_rows.ts";
import { type Mode, requestByRequest, simulate } from "./sim_world.ts";
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
  await calibration.sample();
  for (const [name, run] of Object.entries(smallApplications(texts))) {
    for (const roundTripMs of [0, 250]) {
      measured.push(await measure(pool, { name, run, roundTripMs }, context.full, calibration));
    }
  }
  context.note(`apps: fitted ${JSON.stringify((await calibration.fit())(1))}`);
  const paces = measured.map(({ samples }) => calibration.pace(...samples));
  context.report({
    case: "calibration_real",
    metric: "fastest_over_slowest",
    value: Math.min(...paces) / Math.max(...paces),
    unit: "share of the time",
    baseline: "same steps beside each application: how even this machine was",
  });
  for (const [i, each] of measured.entries()) {
    await report(context, await calibration.fit(paces[i]), each);
  }
  if (context.full) await processorRows(context, pool, texts, smallApplications(texts));
}

interface Case {
  name: string;
  run: Run;
  roundTripMs: number;
}

/** One run of a case. */
interface Once {
  /** Milliseconds. */
  ms: number;
  value: unknown;
}

type Way = "graph" | "requests" | "cached";

/** All runs of a case. */
interface Measured extends Case {
  /** Runs each way, interleaved; of the graph there may be more. Request by request with the prefix cache on only where asked for. */
  runs: Record<Way, Once[]>;
  /** Tokens of all prompts of the graph, as the engine counts them. */
  promptTokens: number;
  /** The first and the last sample of the calibration that belong to it. */
  samples: [first: number, last: number];
}

/** Milliseconds of measuring a case after which no further round begins. */
const ENOUGH_MS = 15_000;
const FULL_ROUNDS = 5;
/** Runs of the graph at least, where one round takes longer than that. */
const LEAST_GRAPH_RUNS = 3;

/**
 * Runs a case in interleaved rounds, each way first in every other one; `calibration` samples the engine at the end, in `full` runs after
 * every round. Throws when the graph's answers are not those of request by request.
 */
async function measure(
  pool: EnginePool,
  one: Case,
  full: boolean,
  calibration: EngineCalibration,
): Promise<Measured> {
  const { name, run, roundTripMs } = one;
  const runs: Measured["runs"] = { graph: [], requests: [], cached: [] };
  let promptTokens = 0;
  const timed = async (way: Way, work: () => Promise<unknown>) => {
    const start = performance.now();
    const value = await work();
    runs[way].push({ ms: timeOf(value, performance.now() - start), value });
    return JSON.stringify(value);
  };
  // A tenant of its own each time: nothing of an earlier run is in the cache.
  const byRequest = (uncached: boolean) => () => {
    const rest = { criteria: "latency", cacheScope: crypto.randomUUID() } as const;
    const each = () => new RequestCaller(pool, systemClock, roundTripMs, rest, uncached);
    return run(each(), each);
  };
  const asGraph = async () => {
    await using graph = new GraphRuntime({ pool });
    const tenant = crypto.randomUUID();
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
  };
  const begin = performance.now();
  const first = calibration.samples - 1;
  let rounds = 0;
  while (full ? rounds < FULL_ROUNDS : rounds === 0 || performance.now() - begin < ENOUGH_MS) {
    const ways = [
      () => timed("graph", asGraph),
      () => timed("requests", byRequest(true)),
    ];
    const answers: string[] = [];
    for (const way of rounds % 2 === 0 ? ways : ways.toReversed()) answers.push(await way());
    if (name !== "mixed" && answers[0] !== answers[1]) {
      throw new Error(`apps/${name}: the graph's answers are not those of request by request`);
    }
    if (full) {
      await timed("cached", byRequest(false));
      await calibration.sample();
    }
    rounds++;
  }
  for (; rounds < LEAST_GRAPH_RUNS; rounds++) await timed("graph", asGraph);
  if (!full) await calibration.sample();
  return { ...one, runs, promptTokens, samples: [first, calibration.samples - 1] };
}

/** The median of a number that every run has. */
function usual(runs: readonly Once[], of: (run: Once) => number = ({ ms }) => ms): number {
  return median(runs.map(of));
}

async function report(
  context: BenchContext,
  fitted: FittedEngine,
  measured: Measured,
): Promise<void> {
  const { name, run, roundTripMs, runs } = measured;
  const requests = usual(runs.requests);
  // Side by side with request by request, as many of either.
  const graphs = runs.graph.slice(0, runs.requests.length);
  const graph = usual(graphs);
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
  if (name === "mixed") {
    // As simulated: of what chats gain and what jobs gain, the lesser.
    const gain = (of: (result: MixedResult) => number) => {
      const [theirs, ours] = [runs.requests, graphs].map((runs) =>
        usual(runs, ({ value }) => of(value as MixedResult))
      );
      return theirs / ours;
    };
    const chat = gain(({ chatMsPerToken }) => chatMsPerToken);
    const job = gain(({ jobSeconds }) => jobSeconds);
    const all = (requests / graph).toFixed(2);
    row(
      "speedup_vs_requests",
      Math.min(chat, job),
      `chats ${chat.toFixed(2)}, jobs ${job.toFixed(2)}, all in the mean ${all}`,
      "x, the lesser of chats and jobs",
    );
  } else row("speedup_vs_requests", requests / graph, `${ms(requests)}, graph ${ms(graph)}`);
  if (runs.cached.length > 0) {
    const cached = usual(runs.cached);
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
  const graphMs = usual(runs.graph);
  row(
    "share_of_ideal",
    ideal / graphMs,
    `${ms(ideal)}, the fitted model's own schedule without a client`,
  );
  if (roundTripMs > 0) {
    // The ideal has no client in it; every client has to send the graph and to get the answer.
    row(
      "share_of_ideal_and_trip",
      (ideal + roundTripMs) / graphMs,
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
  error(ideal, graphMs, "graph_prediction_error");
  error(await predict(requestByRequest), requests, "requests_prediction_error");
}

/** What counts as an application's time: until its last answer, or, for many clients side by side, their mean. */
function timeOf(value: unknown, wallMs: number): number {
  const mean = (value as Partial<MixedResult> | undefined)?.completionMs;
  return mean ?? wallMs;
}
