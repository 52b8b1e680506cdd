import { greedy } from "../engine/sampling_defaults.ts";
import type { EnginePool, Generation, PromptPart } from "../engine/types.ts";
import type { ChainNode } from "./node.ts";

/**
 * Characters that must be new for a fill to be worth a request of its own: 256 tokens, what a 13B model on an A100
 * fills in the time of one to two decode steps.
 */
const STEP_CHARS = 1024;
/** Fills ahead at a time; they are bulk work, and each takes a row of the engine's batch. */
const MAX_AHEAD = 4;

interface Ahead {
  /** Characters of the prompt that were handed over. */
  chars: number;
  generation: Generation | undefined;
}

/**
 * Fills the beginning of a prompt before its last inputs are there: what stands before the first missing variable,
 * and as much of that variable as its producer has put out. The engine finds those pages when the call itself
 * comes. A decode step that waits for weights has arithmetic to spare, so a chain of calls hides its prefill behind
 * the decoding of the call before. Work that turns out useless (a producer fails) was bulk work.
 */
export class PrefillAhead {
  readonly #pool: EnginePool;
  readonly #running = new Map<ChainNode, Ahead>();
  #active = 0;

  constructor(pool: EnginePool) {
    this.#pool = pool;
  }

  /** The producer runs on `engine`, or has put out more: see what its readers can begin with. */
  advance(producer: ChainNode, tenant: string, engine: number, model: string): void {
    const { output } = producer.generate;
    for (const consumer of output.consumers) {
      if (consumer.kind !== "chain" || consumer.previous || !consumer.active) continue;
      if (consumer.state === "waiting") this.#consider(consumer, tenant, engine, model);
    }
  }

  /** The call itself goes to an engine now: what is filled of it stays, the rest it fills itself. */
  stop(chain: ChainNode): void {
    const ahead = this.#running.get(chain);
    if (!ahead) return;
    this.#running.delete(chain);
    ahead.generation?.cancel();
  }

  close(): void {
    for (const chain of [...this.#running.keys()]) this.stop(chain);
  }

  #consider(chain: ChainNode, tenant: string, engine: number, model: string): void {
    const ahead = this.#running.get(chain) ?? { chars: 0, generation: undefined };
    if (ahead.generation || this.#active >= MAX_AHEAD) return;
    const { parts, chars } = knownParts(chain);
    if (chars - ahead.chars < STEP_CHARS) return;
    ahead.chars = chars;
    this.#running.set(chain, ahead);
    this.#fill(chain, ahead, parts, tenant, engine, model);
  }

  async #fill(
    chain: ChainNode,
    ahead: Ahead,
    parts: PromptPart[],
    tenant: string,
    engine: number,
    model: string,
  ): Promise<void> {
    this.#active++;
    try {
      ahead.generation = this.#pool.submit({
        id: `ahead-${crypto.randomUUID()}`,
        model,
        engine,
        prompt: { type: "parts", parts },
        maxTokens: 0,
        sampling: greedy,
        cacheScope: tenant,
        criteria: "throughput",
        priority: 2 ** 50,
      });
      for await (const event of ahead.generation) if (event.type === "finished") break;
    } catch {
      // Only speed is lost: whatever is wrong will meet the call itself, which reports it.
      this.#running.delete(chain);
    } finally {
      this.#active--;
      ahead.generation = undefined;
    }
  }
}

/** The prompt up to the first variable that is not ready, and what there is of that one. */
function knownParts(chain: ChainNode): { parts: PromptPart[]; chars: number } {
  const parts: PromptPart[] = [];
  let chars = 0;
  for (const fill of chain.fills) {
    const text = fill.kind === "constant" ? fill.text : fill.variable.partial;
    if (fill.kind === "constant") parts.push({ type: "text", text, special: true });
    else if (text !== "") parts.push({ type: "text", text });
    chars += text.length;
    if (fill.kind === "variable" && fill.variable.state !== "ready") break;
  }
  return { parts, chars };
}
