import { type AttentionBudget, KvContext, type KvContextShape } from "../../ffi/kv_context.ts";
import { log } from "../common/log.ts";
import { PAGE_TOKENS } from "../model/kv_cache.ts";

/** Mean relative error of the output that budgets are calibrated for while an index is built. */
const BUILD_TARGET = 0.01;

/**
 * The retrieval of one sequence, from the first step of its prompt until it leaves. `reading`: pages and queries come in.
 * `building`: indexes are built on other threads, decoding is dense meanwhile. `ready`: decoding retrieves.
 */
export class KvSession implements Disposable {
  state: "reading" | "building" | "ready" | "failed" = "reading";
  /** The page after the last one that is in CPU memory; those before it, from the window's own on, are too. */
  end: number;
  /** The page after the last one reported as no longer needed on the GPU. */
  vacated: number;
  /** Layers whose index is built. */
  layersBuilt = 0;
  /** Keys and values in CPU memory. */
  readonly context: KvContext;
  /** Settles, never rejects, when a build that was started has ended. */
  built: Promise<void> = Promise.resolve();
  #disposed = false;

  /**
   * @param firstPages leading pages that stay on the GPU
   * @param promptTokens tokens to read before the sequence decodes
   * @param stride distance between positions whose queries are sampled
   */
  constructor(
    readonly slot: number,
    readonly shape: KvContextShape,
    readonly budget: AttentionBudget,
    readonly firstPages: number,
    readonly promptTokens: number,
    readonly stride: number,
  ) {
    this.end = firstPages;
    this.vacated = firstPages;
    this.context = KvContext.open(shape);
  }

  /** Tokens in CPU memory. */
  get tokensHeld(): number {
    return (this.end - this.firstPages) * PAGE_TOKENS;
  }

  /** Builds the indexes while the caller waits. */
  buildNow(): void {
    for (; this.layersBuilt < this.shape.layers; this.layersBuilt++) {
      this.context.buildNow(this.layersBuilt, BUILD_TARGET);
    }
    this.state = "ready";
  }

  /** Builds the indexes on other threads, layer by layer. */
  startBuild(): void {
    this.state = "building";
    const start = performance.now();
    this.built = this.#build().then(() => {
      if (this.#disposed) return;
      this.state = "ready";
      log("debug", "retrieval index built", {
        slot: this.slot,
        pages: this.end - this.firstPages,
        seconds: (performance.now() - start) / 1000,
      });
    }, (error) => {
      // A build cut short by its session's end is no fault.
      if (this.#disposed) return;
      this.state = "failed";
      log("warn", `retrieval index not built, decoding stays dense: ${(error as Error).message}`);
    });
  }

  async #build(): Promise<void> {
    while (this.layersBuilt < this.shape.layers && !this.#disposed) {
      await this.context.build(this.layersBuilt, BUILD_TARGET);
      this.layersBuilt++;
    }
  }

  /** Frees the CPU memory; a layer's build under way ends first. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context[Symbol.dispose]();
  }
}
