import { median } from "../../src/common/math.ts";
import { planningCost } from "./apps/planning.ts";
import { realRows } from "./apps/real_rows.ts";
import { simulatedRows } from "./apps/sim_rows.ts";
import { Texts } from "./apps/texts.ts";
import { traceRows } from "./apps/trace_rows.ts";
import type { Bench, BenchContext } from "./harness.ts";

/** Whole applications: as a graph that the server runs, against a client that sends request after request. */
export const bench: Bench = {
  name: "apps",
  summary:
    "applications as graphs against request by request: simulated A100, and this machine's engine",
  async run(context) {
    const texts = await Texts.open(context.data);
    await planningRow(context);
    await simulatedRows(context, texts);
    await traceRows(context);
    await realRows(context, texts);
  },
};

async function planningRow(context: BenchContext): Promise<void> {
  // The first runs are the compiler's; a median of the rest, since other work shares the machine.
  const costs: number[] = [];
  for (let round = 0; round < 14; round++) {
    const { usPerCall } = await planningCost(2000);
    if (round >= 5) costs.push(usPerCall);
  }
  context.report({
    case: "planning",
    metric: "us_per_call",
    value: median(costs),
    unit: "µs",
    device: "CPU",
  });
}
