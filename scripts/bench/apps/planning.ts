import { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { SemanticCall } from "../../../src/graph/operation.ts";
import type {
  EngineLoad,
  EnginePool,
  GenerateEvent,
  GenerateRequest,
  Generation,
} from "../../../src/engine/types.ts";
import { VirtualClock } from "../../../src/graph/sim/virtual_clock.ts";

/** Engines that answer every request at once with one token: what is left to measure is the graph. */
class InstantPool implements EnginePool {
  submitted = 0;

  models() {
    return Promise.resolve([]);
  }

  submit(request: GenerateRequest): Generation {
    this.submitted++;
    const usage = { promptTokens: 8, completionTokens: 1, cachedTokens: 0, ttftMs: 0, decodeMs: 0 };
    const events: GenerateEvent[] = [
      { type: "started", promptTokens: 8, cachedTokens: 0 },
      { type: "delta", ids: [1], text: "word" },
      { type: "finished", reason: "length", usage },
    ];
    return {
      id: request.id,
      cancel() {},
      async *[Symbol.asyncIterator]() {
        yield* events;
      },
    };
  }

  cachedPrefix() {
    return Promise.resolve(0);
  }

  load(): EngineLoad[] {
    return Array.from({ length: 4 }, () => ({
      model: "instant",
      state: "ready" as const,
      waiting: 0,
      running: 0,
      pagesTotal: 100_000,
      pagesUsed: 0,
      pagesCached: 0,
      promptTokens: 0,
      cachedPromptTokens: 0,
      generatedTokens: 0,
      preemptions: 0,
      steps: 0,
      restarts: 0,
      gpuBytes: 0,
      cpuBytes: 0,
    }));
  }

  tokenize() {
    return Promise.resolve([]);
  }

  detokenize() {
    return Promise.resolve("");
  }

  [Symbol.asyncDispose]() {
    return Promise.resolve();
  }
}

/** Cost of one session. */
export interface PlanningCost {
  /** From submission to the value: building, deducing, ordering, placing, starting and propagating. */
  usPerCall: number;
  /** Heap that the session keeps, per variable. */
  bytesPerVariable: number;
}

/** Runs `chains` calls over five variables each, in dependent runs of ten, on four engines that take no time. */
export async function planningCost(chains: number): Promise<PlanningCost> {
  const clock = new VirtualClock();
  const pool = new InstantPool();
  await using graph = new GraphRuntime({ pool, clock });
  const session = graph.openSession();
  const heap = Deno.memoryUsage().heapUsed;
  const start = performance.now();
  const ends: string[] = [];
  let previous: string | undefined;
  for (let i = 0; i < chains; i++) {
    if (i % 10 === 0) previous = undefined;
    const made = graph.submit(session, operation(i, previous)).parameters;
    previous = made[made.length - 1].var_id;
    if (i % 10 === 9) ends.push(previous);
  }
  await clock.run(
    Promise.all(ends.map((id, i) => graph.read(session, id, i % 2 ? "latency" : "throughput"))),
  );
  const elapsed = performance.now() - start;
  if (pool.submitted < chains) throw new Error(`${pool.submitted} of ${chains} calls ran`);
  return {
    usPerCall: elapsed * 1000 / chains,
    bytesPerVariable: (Deno.memoryUsage().heapUsed - heap) / session.variables.size,
  };
}

function operation(index: number, previous: string | undefined): SemanticCall {
  const literals = ["a", "b", "c"].map((name) => ({
    name,
    isOutput: false,
    value: `${name}${index}`,
  }));
  const link = previous === undefined
    ? { name: "d", isOutput: false, value: "start" }
    : { name: "d", isOutput: false, variableId: previous };
  return {
    kind: "call",
    template: "Given {{a}}, {{b}} and {{c}}, continue {{d}}: {{o}}",
    parameters: [...literals, link, { name: "o", isOutput: true }],
    models: [],
    removePureFill: true,
    seed: 1,
  };
}
