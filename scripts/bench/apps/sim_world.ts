import { describeSession } from "../../../src/graph/describe_session.ts";
import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { DispatcherOptions } from "../../../src/graph/dispatcher.ts";
import type { CostModel } from "../../../src/graph/sim/cost_model.ts";
import { SimulatedPool, type SimulatedPoolOptions } from "../../../src/graph/sim/simulated_pool.ts";
import { VirtualClock } from "../../../src/graph/sim/virtual_clock.ts";
import { type Caller, GraphCaller, RequestCaller } from "./caller.ts";

/** How an application meets the engines. */
export type Mode =
  /** As a graph. */
  | { kind: "graph"; planner?: DispatcherOptions }
  /** Request by request; every request is somebody's latency: at most `admitTokens` of context in the engine. */
  | { kind: "latency_first"; admitTokens: number }
  /** Request by request, as many at a time as memory holds. */
  | { kind: "throughput_first" };

/** Request by request through `/v1/completions`, where every request is latency work, on an engine as it is. */
export const requestByRequest: Mode = { kind: "latency_first", admitTokens: Infinity };

/** Result of one run. */
export interface SimRun<T> {
  value: T;
  /** Virtual milliseconds. */
  ms: number;
  /** Milliseconds in which engines worked, all of them together. */
  busyMs: number;
  /** Tokens of all prompts, in the simulator's tokens. */
  promptTokens: number;
  /** Prompt tokens that engines processed, fills ahead included, over those that calls submitted. */
  prefilledShare: number;
}

/** Options of a run beside its mode. */
export interface SimOptions {
  cost: CostModel;
  roundTripMs: number;
  engines?: number;
  /** Prefix cache for request-by-request modes, which is off by default. */
  cached?: boolean;
  sharedAttention?: SimulatedPoolOptions["sharedAttention"];
  generatedChars?: number;
  pageTokens?: number;
}

/** Runs an application once in virtual time, on engines of its own. */
export async function simulate<T>(
  mode: Mode,
  options: SimOptions,
  application: (caller: Caller, each: () => Caller) => Promise<T>,
): Promise<SimRun<T>> {
  const clock = new VirtualClock();
  const graphMode = mode.kind === "graph";
  await using pool = new SimulatedPool({
    clock,
    cost: options.cost,
    engines: options.engines,
    generatedChars: options.generatedChars,
    pageTokens: options.pageTokens,
    sharing: graphMode || options.cached ? "pages" : "none",
    sharedAttention: graphMode || options.cached ? options.sharedAttention : "each",
    admitTokens: mode.kind === "latency_first" ? mode.admitTokens : undefined,
  });
  await using graph = new GraphRuntime({
    pool,
    clock,
    planner: mode.kind === "graph" ? mode.planner : undefined,
  });
  const callers: Caller[] = [];
  const each = () => {
    const caller = graphMode
      ? new GraphCaller(graph, options.roundTripMs)
      : new RequestCaller(pool, clock, options.roundTripMs, {
        criteria: mode.kind === "latency_first" ? "latency" : "throughput",
      });
    callers.push(caller);
    return caller;
  };
  const value = await clock.run(application(each(), each));
  const loads = pool.load();
  const prefilled = loads.reduce(
    (sum, { promptTokens, cachedPromptTokens }) => sum + promptTokens - cachedPromptTokens,
    0,
  );
  const submitted = graphMode
    ? callers.reduce((sum, each) => sum + submittedTokens(each as GraphCaller), 0)
    : loads.reduce((sum, load) => sum + load.promptTokens, 0);
  const busyMs = pool.engines.reduce((sum, engine) => sum + engine.totals.busyMs, 0);
  return {
    value,
    ms: clock.now(),
    busyMs,
    promptTokens: submitted,
    prefilledShare: prefilled / submitted,
  };
}

function submittedTokens(caller: GraphCaller): number {
  return describeSession(caller.session).totals.prompt_tokens;
}
