/**
 * One application, written once, driven two ways: as a graph that the server runs, or request by request by a client
 * that waits for every answer before it sends what depends on it.
 * @module
 */
import type { EnginePool, GenerateRequest } from "../../../src/engine/types.ts";
import { greedy } from "../../../src/engine/sampling_defaults.ts";
import { type Clock, sleep } from "../../../src/graph/clock.ts";
import type { Criteria } from "../../../src/graph/criteria.ts";
import type { GraphRuntime } from "../../../src/graph/graph_runtime.ts";
import type { CallParameter } from "../../../src/graph/operation.ts";
import type { Session } from "../../../src/graph/session.ts";

/** The output of a call, wherever it is. */
export interface Output {
  readonly id: string;
}

/** A piece of a prompt: text of the function, or what another call put out. */
export type Part = string | Output;

/** What an application is written against. */
export interface Caller {
  /** Calls the model on `parts`; the answer is exactly `tokens` long. */
  call(parts: Part[], tokens: number): Output;
  /** Waits for an answer at the client. */
  read(output: Output, criteria?: Criteria): Promise<string>;
  /** Whether outputs travel through the client anyway. */
  readonly clock: Clock;
}

/** Calls become a graph. What the client sends is on its way for half a round trip; so is what it reads. */
export class GraphCaller implements Caller {
  readonly clock: Clock;
  readonly session: Session;
  readonly #graph: GraphRuntime;
  readonly #halfTrip: number;
  /** Calls of one turn travel together, as `POST /v1/apps` takes them. */
  #arrival: Promise<void> | undefined;

  constructor(graph: GraphRuntime, roundTripMs: number, tenant = "") {
    this.#graph = graph;
    this.clock = graph.clock;
    this.session = graph.openSession(tenant, { lifeSpanMs: 1e12 });
    this.#halfTrip = roundTripMs / 2;
  }

  call(parts: Part[], tokens: number): Output {
    const parameters: CallParameter[] = [];
    let template = "";
    for (const part of parts) {
      if (typeof part === "string") {
        template += part;
        continue;
      }
      const name = `i${parameters.length}`;
      parameters.push({ name, isOutput: false, variableId: part.id });
      template += `{{${name}}}`;
    }
    const output = this.#graph.createVariable(this.session, "o");
    const sampling = { temperature: 0, max_gen_length: tokens, ignore_tokenizer_eos: true };
    parameters.push({ name: "o", isOutput: true, variableId: output.id, sampling });
    this.#travel().then(() =>
      this.#graph.submit(this.session, {
        kind: "call",
        template: `${template}{{o}}`,
        parameters,
        models: [],
        removePureFill: true,
        seed: 1,
      })
    );
    return output;
  }

  async read(output: Output, criteria: Criteria = "latency"): Promise<string> {
    await this.#travel();
    const text = await this.#graph.read(this.session, output.id, criteria);
    if (this.#halfTrip > 0) await sleep(this.clock, this.#halfTrip);
    return text;
  }

  #travel(): Promise<void> {
    if (this.#arrival) return this.#arrival;
    const arrival = this.#halfTrip > 0 ? sleep(this.clock, this.#halfTrip) : Promise.resolve();
    this.#arrival = arrival;
    queueMicrotask(() => this.#arrival = undefined);
    return arrival;
  }
}

/** Every call is a request of its own: `/v1/completions`, with nothing known of the others. */
export class RequestCaller implements Caller {
  readonly clock: Clock;
  readonly #pool: EnginePool;
  readonly #halfTrip: number;
  readonly #request: Partial<GenerateRequest>;
  readonly #answers = new Map<string, Promise<string>>();
  readonly #uncached: boolean;
  #next = 0;

  constructor(
    pool: EnginePool,
    clock: Clock,
    roundTripMs: number,
    request: Partial<GenerateRequest> = {},
    /** Give every request a scope of its own, so that none finds another's prefix. */
    uncached = false,
  ) {
    this.#uncached = uncached;
    this.#pool = pool;
    this.clock = clock;
    this.#halfTrip = roundTripMs / 2;
    this.#request = request;
  }

  call(parts: Part[], tokens: number): Output {
    const id = `request-${this.#next++}`;
    const answer = this.#send(id, parts, tokens);
    answer.catch(() => {});
    this.#answers.set(id, answer);
    return { id };
  }

  read(output: Output): Promise<string> {
    return this.#answers.get(output.id) ?? Promise.reject(new RangeError(`No call ${output.id}`));
  }

  async #send(id: string, parts: Part[], tokens: number): Promise<string> {
    const texts = await Promise.all(
      joined(parts).map((part) => typeof part === "string" ? part : this.read(part)),
    );
    if (this.#halfTrip > 0) await sleep(this.clock, this.#halfTrip);
    const generation = this.#pool.submit({
      id: `${id}-${crypto.randomUUID()}`,
      prompt: {
        type: "parts",
        parts: texts.filter((text) => text !== "").map((text) => ({ type: "text", text })),
      },
      maxTokens: tokens,
      ignoreEos: true,
      sampling: greedy,
      ...this.#request,
      ...(this.#uncached ? { cacheScope: crypto.randomUUID() } : {}),
    });
    let text = "";
    for await (const event of generation) if (event.type === "delta") text += event.text;
    if (this.#halfTrip > 0) await sleep(this.clock, this.#halfTrip);
    return text;
  }
}

/** Neighbouring texts joined, as they are in a template: tokens must not depend on how a call was written. */
function joined(parts: readonly Part[]): Part[] {
  const result: Part[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (typeof part === "string" && typeof last === "string") {
      result[result.length - 1] = last + part;
    } else result.push(part);
  }
  return result;
}
