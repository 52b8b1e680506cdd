import { KvContext, type KvContextShape } from "../../ffi/kv_context.ts";
import { buildsAtOnce } from "./builds_at_once.ts";
import { log } from "../common/log.ts";
import { PAGE_TOKENS } from "../model/kv_cache.ts";

/** Mean relative error of the output that budgets are calibrated for while an index is built. */
const BUILD_TARGET = 0.01;

/** A page with the number of times it had been written when it was taken: the same pair is the same content. */
export interface WrittenPage {
  page: number;
  writes: number;
}

/**
 * The middle of a prompt in CPU memory, every layer, with its indexes: read from the GPU once, and attended to by every sequence whose
 * prompt starts alike. `reading`: pages and queries come in. `building`: indexes are built on other threads. `ready`: it can be attended to.
 */
export class IndexedPrefix implements Disposable {
  state: "reading" | "building" | "ready" | "failed" = "reading";
  /** The pages held, from `firstPages` on. */
  readonly pages: WrittenPage[] = [];
  /** Sequences that use it. */
  owners = 0;
  /** When an owner left last, in an order of the cache's own. */
  lastUse = 0;
  /** Layers whose index is built. */
  layersBuilt = 0;
  readonly context: KvContext;
  /** Settles, never rejects, when a build that was started has ended. */
  built: Promise<void> = Promise.resolve();
  #disposed = false;

  /**
   * @param firstPages leading pages that stay on the GPU
   * @param goal the page after the last one that is held once the prompt is read
   * @param fixed whether its indexes are made for budgets of a number of keys too
   */
  constructor(
    readonly shape: KvContextShape,
    readonly firstPages: number,
    readonly goal: number,
    readonly fixed = false,
  ) {
    this.context = KvContext.open(shape);
  }

  /** The page after the last one held. */
  get end(): number {
    return this.firstPages + this.pages.length;
  }

  /** Tokens held. */
  get tokens(): number {
    return this.pages.length * PAGE_TOKENS;
  }

  #buildNow(): void {
    for (; this.layersBuilt < this.shape.layers; this.layersBuilt++) {
      this.context.buildNow(this.layersBuilt, BUILD_TARGET, this.fixed);
    }
    this.state = "ready";
  }

  /** Builds the indexes on other threads, a few layers at a time, or all while the caller waits. */
  build(wait: boolean): void {
    if (wait) return this.#buildNow();
    this.state = "building";
    this.built = this.#build().then(() => {
      if (this.#disposed) return;
      this.state = "ready";
    }, (error) => {
      // A build cut short by its prefix's end is no fault.
      if (this.#disposed) return;
      this.state = "failed";
      log("warn", `retrieval index not built, decoding stays dense: ${(error as Error).message}`);
    });
  }

  async #build(): Promise<void> {
    let next = this.layersBuilt;
    const lane = async () => {
      while (next < this.shape.layers && !this.#disposed) {
        await this.context.build(next++, BUILD_TARGET, this.fixed);
        this.layersBuilt++;
      }
    };
    await Promise.all(Array.from({ length: buildsAtOnce(this.shape.kvHeads) }, lane));
  }

  /** Frees the CPU memory; a layer's build under way ends first. Idempotent. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.context[Symbol.dispose]();
  }
}
