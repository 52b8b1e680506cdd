import { llama13bOnA100 } from "../../../src/graph/sim/cost_model.ts";
import type { BenchContext } from "../harness.ts";
import type { GraphCaller } from "./caller.ts";
import { type Mode, type SimOptions, simulate } from "./sim_world.ts";
import { readTrace, replay, traceFiles } from "./traces.ts";

/** Mooncake's prompts (14,000 tokens in the mean) are cut to what an engine of 56,000 tokens can batch. */
const shrink: Record<string, number> = { azure_conv: 1, azure_code: 1, mooncake: 8 };
/** Shares of the engine's capacity at which each trace is replayed. */
const loads = [0.7, 0.9, 1.1];

/** Replays real traces with and without criteria. Leaves rows out where there is no data folder. */
export async function traceRows(context: BenchContext): Promise<void> {
  if (context.data === undefined) {
    context.note("apps: the traces are in a data folder (--data DIR): their rows are left out");
    return;
  }
  const cost = llama13bOnA100;
  const options: SimOptions = { cost, roundTripMs: 0, sharedAttention: "once" };
  const mode: Mode = {
    kind: "graph",
    planner: { latencyTokens: cost.latencyTokens, bulkTokens: 16_000 },
  };
  for (const name of Object.keys(traceFiles)) {
    const trace = await readTrace(context.data, name, context.full ? 4000 : 1000);
    const run = async (rate: number, criteria: boolean) => {
      const settings = { rate, shrink: shrink[name], criteria };
      return (await simulate(
        mode,
        options,
        (caller) => replay(caller as GraphCaller, trace, settings),
      ))
        .value;
    };
    const everything = await run(1000, false);
    const capacity = trace.length / (everything.makespanMs / 1000);
    let worst = 0;
    let bulk = Infinity;
    for (const load of loads) {
      const [plain, marked] = [await run(load * capacity, false), await run(load * capacity, true)];
      const ratio = marked.urgentP99TtftMs / plain.urgentP99TtftMs;
      context.note(
        `apps: ${name} at ${load} of ${capacity.toFixed(2)} requests/s: p99 TTFT ` +
          `${marked.urgentP99TtftMs.toFixed(0)} ms with criteria, ${
            plain.urgentP99TtftMs.toFixed(0)
          } without; bulk ` +
          `${marked.bulkTokensPerSecond.toFixed(1)} and ${
            plain.bulkTokensPerSecond.toFixed(1)
          } tokens/s`,
      );
      // Below saturation there is no queue to jump: the bound is on what load does.
      if (load >= 0.9) worst = Math.max(worst, ratio);
      bulk = Math.min(bulk, marked.bulkTokensPerSecond / plain.bulkTokensPerSecond);
    }
    const device = "simulated LLaMA-13B on A100";
    context.report({
      case: `trace_${name}`,
      metric: "p99_ttft_ratio",
      value: worst,
      unit: "with / without criteria",
      device,
    });
    context.report({
      case: `trace_${name}`,
      metric: "bulk_throughput_ratio",
      value: bulk,
      unit: "with / without criteria",
      device,
    });
  }
}
