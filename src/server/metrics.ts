import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineLoad, EnginePool, FinishReason } from "../engine/types.ts";

/** How a generation ended, for counting; `embedded`: it was a text to embed. */
export type GenerationOutcome = FinishReason | "error" | "embedded";

/** The gauges and counters read from `EnginePool.load` at every scrape. */
const engineSeries: readonly {
  name: string;
  help: string;
  kind: "gauge" | "counter";
  value(load: EngineLoad): number;
}[] = [
  {
    name: "sparrow_engine_ready",
    help: "1 when the engine answers",
    kind: "gauge",
    value: (l) => l.state === "ready" ? 1 : 0,
  },
  {
    name: "sparrow_requests_waiting",
    help: "Generations queued",
    kind: "gauge",
    value: (l) => l.waiting,
  },
  {
    name: "sparrow_requests_running",
    help: "Generations in the batch",
    kind: "gauge",
    value: (l) => l.running,
  },
  { name: "sparrow_kv_pages", help: "KV pages in all", kind: "gauge", value: (l) => l.pagesTotal },
  {
    name: "sparrow_kv_pages_used",
    help: "KV pages held by running generations",
    kind: "gauge",
    value: (l) => l.pagesUsed,
  },
  {
    name: "sparrow_kv_pages_cached",
    help: "KV pages held by the prefix cache alone",
    kind: "gauge",
    value: (l) => l.pagesCached,
  },
  {
    name: "sparrow_kv_usage_ratio",
    help: "Share of KV pages held by running generations",
    kind: "gauge",
    value: (l) => l.pagesTotal === 0 ? 0 : l.pagesUsed / l.pagesTotal,
  },
  {
    name: "sparrow_gpu_memory_bytes",
    help: "GPU memory held by the engine",
    kind: "gauge",
    value: (l) => l.gpuBytes,
  },
  {
    name: "sparrow_cpu_memory_bytes",
    help: "Weights, keys and values in CPU memory, where the native library computes the layers",
    kind: "gauge",
    value: (l) => l.cpuBytes,
  },
  {
    name: "sparrow_prompt_tokens_total",
    help: "Prompt tokens, cached ones included",
    kind: "counter",
    value: (l) => l.promptTokens,
  },
  {
    name: "sparrow_prefix_cache_hit_tokens_total",
    help: "Prompt tokens found in the prefix cache",
    kind: "counter",
    value: (l) => l.cachedPromptTokens,
  },
  {
    name: "sparrow_generated_tokens_total",
    help: "Tokens generated",
    kind: "counter",
    value: (l) => l.generatedTokens,
  },
  {
    name: "sparrow_preemptions_total",
    help: "Generations put back because pages ran out",
    kind: "counter",
    value: (l) => l.preemptions,
  },
  {
    name: "sparrow_engine_steps_total",
    help: "Batches computed",
    kind: "counter",
    value: (l) => l.steps,
  },
  {
    name: "sparrow_engine_restarts_total",
    help: "Times the engine's host was started again",
    kind: "counter",
    value: (l) => l.restarts,
  },
  {
    name: "sparrow_retrieval_sequences",
    help: "Generations that decode over contexts in CPU memory",
    kind: "gauge",
    value: (l) => l.retrieval?.ready ?? 0,
  },
  {
    name: "sparrow_retrieval_cpu_bytes",
    help: "Keys, values and indexes in CPU memory",
    kind: "gauge",
    value: (l) => l.retrieval?.cpuBytes ?? 0,
  },
  {
    name: "sparrow_retrieval_idle_bytes",
    help:
      "Of sparrow_retrieval_cpu_bytes, what no sequence uses now and one whose prompt starts alike may",
    kind: "gauge",
    value: (l) => l.retrieval?.idleBytes ?? 0,
  },
  {
    name: "sparrow_retrieval_shared_sequences",
    help: "Sequences that use an index which another has built",
    kind: "gauge",
    value: (l) => l.retrieval?.shared ?? 0,
  },
  {
    name: "sparrow_retrieval_rest_share",
    help:
      "Share of the attention mass outside the window that was estimated or left out, latest step whose bound was computed",
    kind: "gauge",
    value: (l) => l.retrieval?.restShare ?? 0,
  },
  {
    name: "sparrow_retrieval_rest_bound",
    help: "Upper bound on that share, latest step for which it was computed",
    kind: "gauge",
    value: (l) => l.retrieval?.boundShare ?? 0,
  },
  {
    name: "sparrow_retrieval_tokens_total",
    help: "Tokens decoded over contexts in CPU memory",
    kind: "counter",
    value: (l) => l.retrieval?.tokens ?? 0,
  },
  {
    name: "sparrow_retrieval_keys_scanned_total",
    help: "Keys and centroids scored in CPU memory",
    kind: "counter",
    value: (l) => l.retrieval?.keysScanned ?? 0,
  },
  {
    name: "sparrow_retrieval_search_seconds_total",
    help: "Time in search and attention on the CPU",
    kind: "counter",
    value: (l) => l.retrieval?.searchSeconds ?? 0,
  },
];

/** The server's Prometheus series, in a registry of their own so that several servers live in one process. */
export class ServerMetrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"route" | "method" | "status">;
  readonly #generations: Counter<"model" | "outcome">;
  readonly #firstToken: Histogram<"model">;
  readonly #perToken: Histogram<"model">;

  constructor(pool: EnginePool) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: "sparrow_http_requests_total",
      help: "HTTP requests by route and status",
      labelNames: ["route", "method", "status"],
      registers,
    });
    this.#generations = new Counter({
      name: "sparrow_generations_total",
      help: "Generations by how they ended",
      labelNames: ["model", "outcome"],
      registers,
    });
    this.#firstToken = new Histogram({
      name: "sparrow_time_to_first_token_seconds",
      help: "From submission to the first token",
      labelNames: ["model"],
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120],
      registers,
    });
    this.#perToken = new Histogram({
      name: "sparrow_time_per_output_token_seconds",
      help: "From one token to the next",
      labelNames: ["model"],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    });
    this.gauge(
      "sparrow_server_resident_memory_bytes",
      "Resident memory of the server process, the engines' hosts excluded",
      () => Deno.memoryUsage().rss,
    );
    for (const { name, help, kind, value } of engineSeries) {
      const shared = { name, help, labelNames: ["model", "engine"], registers };
      if (kind === "gauge") {
        new Gauge({
          ...shared,
          collect(this: Gauge) {
            for (const [labels, load] of labelled(pool)) this.set(labels, value(load));
          },
        });
      } else {
        // The engine keeps the total; a restart of its host sets it back, as Prometheus expects of counters.
        new Counter({
          ...shared,
          collect(this: Counter) {
            this.reset();
            for (const [labels, load] of labelled(pool)) this.inc(labels, value(load));
          },
        });
      }
    }
  }

  /** Adds a gauge that is read at every scrape. */
  gauge(name: string, help: string, value: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect(this: Gauge) {
        this.set(value());
      },
    });
  }

  /** Counts one answered HTTP request. */
  request(route: string, method: string, status: number): void {
    this.#requests.inc({ route, method, status: String(status) });
  }

  /** Counts one ended generation. */
  generation(model: string, outcome: GenerationOutcome): void {
    this.#generations.inc({ model, outcome });
  }

  /** Observes the time to a generation's first token. */
  firstToken(model: string, seconds: number): void {
    this.#firstToken.observe({ model }, seconds);
  }

  /** Observes the time between tokens, of `count` that came together in `seconds`. */
  nextTokens(model: string, seconds: number, count: number): void {
    for (let i = 0; i < count; i++) this.#perToken.observe({ model }, seconds / count);
  }

  /** Media type of `expose`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All series in Prometheus's text format. */
  expose(): Promise<string> {
    return this.#registry.metrics();
  }
}

/** Every engine's load; several engines may serve one model, hence the index. */
function labelled(pool: EnginePool): [{ model: string; engine: string }, EngineLoad][] {
  return pool.load().map((load, i) => [{ model: load.model, engine: String(i) }, load]);
}
