/** Graphs on simulated engines in virtual time, for the tests of this folder. @module */
import { GraphRuntime } from "../../src/graph/graph_runtime.ts";
import type { GraphRuntimeOptions } from "../../src/graph/graph_runtime_options.ts";
import type { CallParameter, SemanticCall } from "../../src/graph/operation.ts";
import type { Session } from "../../src/graph/session.ts";
import { llama13bOnA100 } from "../../src/graph/sim/cost_model.ts";
import { SimulatedPool, type SimulatedPoolOptions } from "../../src/graph/sim/simulated_pool.ts";
import { VirtualClock } from "../../src/graph/sim/virtual_clock.ts";

/** A runtime on a simulated pool. */
export interface World extends AsyncDisposable {
  clock: VirtualClock;
  pool: SimulatedPool;
  graph: GraphRuntime;
  session: Session;
}

/** Opens a runtime with one session on simulated engines. */
export function openWorld(
  pool: Partial<SimulatedPoolOptions> = {},
  graph: Partial<GraphRuntimeOptions> = {},
): World {
  const clock = new VirtualClock();
  const simulated = new SimulatedPool({ cost: llama13bOnA100, ...pool, clock });
  const runtime = new GraphRuntime({ pool: simulated, clock, ...graph });
  return {
    clock,
    pool: simulated,
    graph: runtime,
    session: runtime.openSession(),
    async [Symbol.asyncDispose]() {
      await runtime[Symbol.asyncDispose]();
      await simulated[Symbol.asyncDispose]();
    },
  };
}

/** An input parameter: a variable by id, or a literal. */
export function input(name: string, source: { id: string } | string): CallParameter {
  return typeof source === "string"
    ? { name, isOutput: false, value: source }
    : { name, isOutput: false, variableId: source.id };
}

/** An output parameter of `tokens` tokens. */
export function output(
  name: string,
  tokens = 16,
  rest: Partial<CallParameter> = {},
): CallParameter {
  const sampling = { temperature: 0, max_gen_length: tokens };
  return { name, isOutput: true, sampling, ...rest };
}

/** A call of `template`. */
export function call(
  template: string,
  parameters: CallParameter[],
  rest: Partial<SemanticCall> = {},
): SemanticCall {
  return {
    kind: "call",
    template,
    parameters,
    models: [],
    removePureFill: true,
    seed: 1,
    ...rest,
  };
}

/** Submits a call; returns the ids of its variables by parameter name. */
export function submit(world: World, operation: SemanticCall): Record<string, string> {
  const { parameters } = world.graph.submit(world.session, operation);
  return Object.fromEntries(parameters.map((info) => [info.parameter_name, info.var_id]));
}

/** Does `work` with the path of a store that is not there yet, in a folder of its own. */
export async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(`${folder}/graph.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
