import { greedy } from "../engine/sampling_defaults.ts";
import type { EnginePool, Generation, PromptPart } from "../engine/types.ts";
import type { ChainNode, Fill } from "./node.ts";

/**
 * Characters that must be new for a fill to be worth a request of its own: 128 tokens, two steps of a processor. Simulated with the constants
 * of `sparrow-tiny` on 2 cores, against request by request: chains with 512 and 1,024 characters 1.10 and 1.05 times as fast, a multi-agent
 * team 1.90 times with either and 1.81 with 256, whose fills are too small for the kernels' tiles.
 */
const STEP_CHARS = 512;
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
 *
 * A prompt of several inputs is not filled on as one producer after the other ends: simulated on 2 cores that makes map-reduce 1.014 to 1.018
 * times as fast as request by request, 1.018 without, and a multi-agent team 1.77 to 1.82 instead of 1.90: its coders end together, and the
 * fill stands in the way of the calls themselves.
 */
export class PrefillAhead {
  readonly #pool: EnginePool;
  readonly #running = new Map<ChainNode, Ahead>();
  #active = 0;

  constructor(pool: EnginePool) {
    this.#pool = pool;
  }

  /** The producer runs on `engine`, or has put out more: see what its readers can begin with. */
  advance(producer: ChainNode, scope: string, engine: number, model: string): void {
    const { output } = producer.generate;
    // Whose beginnings the engine has, or will have soon: the producer's own prompt, and those that are filled for it here.
    const held = [firstOfCall(producer)];
    for (const consumer of output.consumers) {
      if (consumer.kind !== "chain" || consumer.previous || !consumer.active) continue;
      if (consumer.state !== "waiting") continue;
      const filled = this.#consider(consumer, held, scope, engine, model);
      if (filled && held.length <= MAX_AHEAD) held.push(consumer);
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

  /** Whether the beginning of `chain` is filled, or has been. */
  #consider(
    chain: ChainNode,
    held: readonly ChainNode[],
    scope: string,
    engine: number,
    model: string,
  ): boolean {
    const ahead = this.#running.get(chain) ?? { chars: 0, generation: undefined };
    if (ahead.generation) return true;
    if (this.#active >= MAX_AHEAD) return false;
    const { parts, chars } = knownParts(chain);
    if (chars - ahead.chars < STEP_CHARS) return ahead.chars > 0;
    const filled = Math.max(ahead.chars, ...held.map((other) => commonChars(chain, other)));
    if (chars - filled < STEP_CHARS) return ahead.chars > 0;
    ahead.chars = chars;
    this.#running.set(chain, ahead);
    this.#fill(chain, ahead, parts, scope, engine, model);
    return true;
  }

  async #fill(
    chain: ChainNode,
    ahead: Ahead,
    parts: PromptPart[],
    scope: string,
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
        cacheScope: scope,
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
    const text = knownText(fill);
    if (fill.kind === "constant") parts.push({ type: "text", text, special: true });
    else if (text !== "") parts.push({ type: "text", text });
    chars += text.length;
    if (fill.kind === "variable" && fill.variable.state !== "ready") break;
  }
  return { parts, chars };
}

/** The chain that began the call of `chain`. */
function firstOfCall(chain: ChainNode): ChainNode {
  let first = chain;
  while (first.previous) first = first.previous;
  return first;
}

/** Characters that the prompts of two chains begin with alike, as far as they are known. */
function commonChars(a: ChainNode, b: ChainNode): number {
  let chars = 0;
  for (let i = 0; i < a.fills.length && i < b.fills.length; i++) {
    const [x, y] = [knownText(a.fills[i]), knownText(b.fills[i])];
    if (x === y) {
      chars += x.length;
      continue;
    }
    let same = 0;
    while (same < x.length && x[same] === y[same]) same++;
    return chars + same;
  }
  return chars;
}

function knownText(fill: Fill): string {
  return fill.kind === "constant" ? fill.text : fill.variable.partial;
}
