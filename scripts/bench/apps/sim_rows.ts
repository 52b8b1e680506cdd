import type { CostModel } from "../../../src/graph/sim/cost_model.ts";
import { llama13bOnA100, llama7bOnA6000 } from "../../../src/graph/sim/cost_model.ts";
import type { BenchContext } from "../harness.ts";
import {
  chainSummary,
  mapReduce,
  multiAgent,
  sharedPrompt,
  type SummaryShape,
  type TeamShape,
} from "./applications.ts";
import { assistantMix, assistants } from "./assistants.ts";
import type { Caller } from "./caller.ts";
import { mixed, type MixedResult, paperMixed } from "./mixed.ts";
import { type Mode, type SimOptions, simulate } from "./sim_world.ts";
import { placementBound } from "./placement_bound.ts";
import type { Texts } from "./texts.ts";

const device = "simulated LLaMA-13B on A100";

/** The paper's baseline: an engine that holds 4,096 tokens, for 40 ms a token. */
const latencyFirst: Mode = { kind: "latency_first", admitTokens: 4096 };
const throughputFirst: Mode = { kind: "throughput_first" };

/** An application, and the client it is compared with. */
interface SimApp {
  name: string;
  run: (caller: Caller, each: () => Caller) => Promise<unknown>;
  /** What "request by request" means for it in the paper. */
  baseline: Mode;
}

const team: TeamShape = {
  coders: 8,
  rounds: 3,
  designTokens: 600,
  codeTokens: 500,
  reviewTokens: 120,
};
const summary = (chunkTokens: number, outputTokens: number, chunks: number): SummaryShape => ({
  chunks,
  chunkTokens,
  outputTokens,
});

function applications(texts: Texts, full: boolean): SimApp[] {
  const chain = (name: string, shape: SummaryShape): SimApp => ({
    name,
    run: (caller) => chainSummary(caller, texts, shape),
    baseline: latencyFirst,
  });
  const reduce = (name: string, shape: SummaryShape): SimApp => ({
    name,
    run: (caller) => mapReduce(caller, texts, shape),
    baseline: latencyFirst,
  });
  const agents = (name: string, shape: TeamShape): SimApp => ({
    name,
    run: (caller) => multiAgent(caller, texts, shape),
    baseline: latencyFirst,
  });
  // Within the paper's ranges (chunks of 512 to 2,048 tokens, 25 to 100 out) the ends where it shows its best.
  const apps = [
    chain("chain", summary(2048, 25, 20)),
    reduce("map_reduce", summary(2048, 50, 16)),
    {
      name: "shared_prompt",
      run: (caller: Caller) =>
        sharedPrompt(caller, texts, {
          users: 32,
          systemTokens: 6000,
          queryTokens: 100,
          outputTokens: 200,
        }),
      // One request alone exceeds 4,096 tokens: the paper batches here by memory, without sharing.
      baseline: throughputFirst,
    },
    agents("multi_agent", team),
    agents("multi_agent_16_files", { ...team, coders: 16 }),
  ];
  if (!full) return apps;
  for (const chunk of [512, 1024, 2048]) {
    for (const out of [25, 50, 100]) {
      apps.push(chain(`chain_${chunk}_${out}`, summary(chunk, out, 20)));
      apps.push(reduce(`map_reduce_${chunk}_${out}`, summary(chunk, out, 16)));
    }
  }
  return apps;
}

/** Rows of one application at one round trip. */
async function appRows(context: BenchContext, app: SimApp, roundTripMs: number): Promise<void> {
  const cost: CostModel = llama13bOnA100;
  const options: SimOptions = { cost, roundTripMs, sharedAttention: "once" };
  const graph = await simulate({ kind: "graph" }, options, app.run);
  const seconds = async (mode: Mode, rest: Partial<SimOptions> = {}) => {
    const run = await simulate(mode, { ...options, ...rest }, app.run);
    if (JSON.stringify(run.value) !== JSON.stringify(graph.value)) {
      throw new Error(`apps/${app.name}: ${mode.kind} answers otherwise than the graph`);
    }
    return run.ms / 1000;
  };
  const own = graph.ms / 1000;
  const name = `${app.name}_sim_rtt${roundTripMs}`;
  const row = (metric: string, other: number, baseline: string) =>
    context.report({
      case: name,
      metric,
      value: other / own,
      unit: "x",
      baseline: `${baseline} ${other.toFixed(2)} s, graph ${own.toFixed(2)} s`,
      ratio: other / own,
      device,
    });
  const latency = await seconds(latencyFirst);
  const throughput = await seconds(throughputFirst);
  row(
    "speedup_vs_requests",
    app.baseline === latencyFirst ? latency : throughput,
    app.baseline.kind,
  );
  row("speedup_vs_latency_first", latency, "4,096 tokens at a time");
  row("speedup_vs_throughput_first", throughput, "by memory");
  row(
    "speedup_vs_requests_cached",
    await seconds(throughputFirst, { cached: true }),
    "by memory, prefix cache on",
  );
  const plain = await simulate({ kind: "graph" }, { ...options, sharedAttention: "each" }, app.run);
  const plainThroughput = throughput / (plain.ms / 1000);
  context.report({
    case: name,
    metric: "speedup_vs_throughput_first_without_shared_attention",
    value: plainThroughput,
    unit: "x",
    device,
  });
  if (roundTripMs === 250) {
    // What no schedule can beat: one step after another for the longest chain of tokens, were prompts read for nothing, and attention too.
    const unread = { ...cost, prefillAttentionMs: 0, computeMsPerToken: 0 };
    const bounds = {
      most_possible_vs_latency_first: ["prompts and attention", {
        ...unread,
        attentionMsPerToken: 0,
      }],
      most_possible_with_attention_vs_latency_first: ["prompts", unread],
    } as const;
    for (const [metric, [what, free]] of Object.entries(bounds)) {
      const least = (await simulate({ kind: "graph" }, { ...options, cost: free }, app.run)).ms /
        1000;
      const value = latency / least;
      const baseline = `its steps with ${what} free: ${least.toFixed(2)} s, ${
        (least / own).toFixed(2)
      } of the graph's`;
      context.report({ case: name, metric, value, unit: "x", baseline, device });
    }
    context.report({
      case: app.name,
      metric: "prefilled_share",
      value: graph.prefilledShare,
      unit: "prefilled / submitted",
      device,
    });
  }
}

/** The mixed workload on the paper's four A6000s, against the numbers of its own figure. */
async function mixedRows(context: BenchContext, texts: Texts, roundTripMs: number): Promise<void> {
  const cost = llama7bOnA6000;
  const paper = { chatMsPerToken: 149.1, jobSeconds: 23.2 };
  const modes: [string, Mode][] = [
    ["graph", {
      kind: "graph",
      planner: { latencyTokens: cost.latencyTokens, bulkTokens: 16_000 },
    }],
    ["latency_first", latencyFirst],
    ["throughput_first", throughputFirst],
  ];
  const results: MixedResult[] = [];
  for (const [label, mode] of modes) {
    const options: SimOptions = { cost, roundTripMs, engines: 4, sharedAttention: "once" };
    const { value, prefilledShare } = await simulate(
      mode,
      options,
      (_, each) => mixed(each, texts, paperMixed),
    );
    if (mode.kind === "graph" && roundTripMs === 250) {
      context.report({
        case: "mixed",
        metric: "prefilled_share",
        value: prefilledShare,
        unit: "prefilled / submitted",
        device: "simulated LLaMA-7B on 4 A6000",
      });
    }
    results.push(value);
    for (const metric of ["chatMsPerToken", "jobSeconds"] as const) {
      context.report({
        case: `mixed_sim_rtt${roundTripMs}`,
        metric: `${label}_${metric === "chatMsPerToken" ? "chat_ms_per_token" : "job_s"}`,
        value: value[metric],
        unit: metric === "chatMsPerToken" ? "ms" : "s",
        baseline: `${paper[metric]} in the paper's row of Parrot`,
        ratio: paper[metric] / value[metric],
        device: "simulated LLaMA-7B on 4 A6000",
      });
    }
  }
  const [graph, ...baselines] = results;
  for (const [i, metric] of ["speedup_vs_requests", "speedup_vs_throughput_first"].entries()) {
    const chat = baselines[i].chatMsPerToken / graph.chatMsPerToken;
    const job = baselines[i].jobSeconds / graph.jobSeconds;
    context.report({
      case: `mixed_sim_rtt${roundTripMs}`,
      metric,
      value: Math.min(chat, job),
      unit: "x, the lesser of both",
      baseline: `${modes[i + 1][0]}: chat ${chat.toFixed(2)}, jobs ${job.toFixed(2)}`,
      ratio: Math.min(chat, job),
      device: "simulated LLaMA-7B on 4 A6000",
    });
  }
}

/**
 * Rates of the four-assistants mix on four engines at equal latency, by where their prefixes are and in turn. A request takes 50 to 90
 * seconds, so short runs would flatter both sides.
 */
async function placementRows(context: BenchContext, seconds: number): Promise<void> {
  // Once and a half and twice what an idle engine takes, and what the paper's Parrot has at its best rate.
  const limits = [84, 105, 126];
  for (const sharedAttention of ["lca", "once"] as const) {
    const curve = async (affinity: boolean) => {
      const points: { rate: number; ms: number }[] = [];
      for (let rate = 1 / 16; (points.at(-1)?.ms ?? 0) < limits[2]; rate *= 1.15) {
        const options: SimOptions = {
          cost: llama7bOnA6000,
          engines: 4,
          roundTripMs: 0,
          sharedAttention,
        };
        const mode: Mode = { kind: "graph", planner: { affinity } };
        const requests = Math.max(40, Math.round(rate * seconds));
        const { value } = await simulate(
          mode,
          options,
          (_, each) => assistantMix(each, rate, requests),
        );
        points.push({ rate, ms: value });
      }
      return points;
    };
    const [on, off] = [await curve(true), await curve(false)];
    for (const limit of limits) {
      const [byPrefix, inTurn] = [rateAt(on, limit), rateAt(off, limit)];
      context.report({
        case: sharedAttention === "lca"
          ? "placement_one_shared_prefix"
          : "placement_many_shared_prefixes",
        metric: `rate_vs_no_affinity_${limit}ms`,
        value: byPrefix / inTurn,
        unit: "x",
        baseline: `${inTurn.toFixed(2)} requests/s in turn, ${
          byPrefix.toFixed(2)
        } by prefix, at ${limit} ms a token`,
        ratio: byPrefix / inTurn,
        device: "simulated LLaMA-7B on 4 A6000",
      });
      if (sharedAttention === "lca") continue;
      const most = placementBound(assistants, 4, llama7bOnA6000, limit);
      context.report({
        case: "placement_many_shared_prefixes",
        metric: `most_possible_vs_no_affinity_${limit}ms`,
        value: most / inTurn,
        unit: "x",
        baseline: `${most.toFixed(2)} requests/s: even arrivals, prompts read for nothing; ${
          (byPrefix / most).toFixed(2)
        } of it reached`,
        device: "simulated LLaMA-7B on 4 A6000",
      });
    }
  }
}

/** The rate at which a curve of rising rates first takes `limit` milliseconds, between its points. */
function rateAt(points: readonly { rate: number; ms: number }[], limit: number): number {
  const over = points.findIndex(({ ms }) => ms > limit);
  if (over <= 0) return points[Math.max(0, over)].rate;
  const [low, high] = [points[over - 1], points[over]];
  return low.rate + (high.rate - low.rate) * (limit - low.ms) / (high.ms - low.ms);
}

/** Every row in virtual time that needs no data but texts. */
export async function simulatedRows(context: BenchContext, texts: Texts): Promise<void> {
  for (const app of applications(texts, context.full)) {
    for (const roundTripMs of [0, 250]) await appRows(context, app, roundTripMs);
  }
  for (const roundTripMs of [0, 250]) await mixedRows(context, texts, roundTripMs);
  await placementRows(context, context.full ? 1200 : 300);
}
