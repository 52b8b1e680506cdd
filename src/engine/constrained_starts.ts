import { ConstraintError } from "../common/errors.ts";
import { ConstraintCompiler, type TokenSpellings } from "../constraint/constraint_compiler.ts";
import type { ConstrainedText } from "../constraint/constrained_text.ts";
import { noUsage } from "./no_usage.ts";
import type { GenerationListener } from "./request.ts";
import type { TextCodec } from "./text_codec.ts";
import type { GenerateRequest } from "./types.ts";

const encoder = new TextEncoder();

/** Queues a request under its constraint and returns what cancels it; takes `text` over. */
type Begin = (
  request: GenerateRequest,
  listener: GenerationListener,
  text: ConstrainedText,
) => () => void;

/** Requests whose constraint is being compiled, before they enter the queue. */
export class ConstrainedStarts {
  readonly #codec: TextCodec;
  /** By the control tokens that are part of texts: they make another vocabulary. */
  readonly #compilers = new Map<string, ConstraintCompiler>();
  readonly #begin: Begin;
  readonly #onSettled: () => void;
  readonly #pending = new Set<() => void>();
  readonly #work = new Set<Promise<void>>();

  /** `onSettled` is called when a request that waited has begun or failed, once its events are out. */
  constructor(codec: TextCodec, begin: Begin, onSettled: () => void) {
    this.#codec = codec;
    this.#begin = begin;
    this.#onSettled = onSettled;
  }

  /** Compiles the constraint of `request`, then begins it; returns what cancels it. Failures reach the listener. */
  start(request: GenerateRequest, listener: GenerationListener): () => void {
    const left = new AbortController();
    let text: ConstrainedText | Promise<ConstrainedText>;
    try {
      text = this.#compile(request, left.signal);
    } catch (error) {
      listener.fail(error as Error);
      return () => {};
    }
    if (!(text instanceof Promise)) return this.#begin(request, listener, text);

    let cancelled = false;
    let cancel = () => {
      if (cancelled) return;
      cancelled = true;
      left.abort();
      listener.event({ type: "finished", reason: "cancelled", usage: noUsage });
    };
    const leave = () => cancel();
    this.#pending.add(leave);
    const work = text.then((text) => {
      if (cancelled) text[Symbol.dispose]();
      else cancel = this.#begin(request, listener, text);
    }).catch((error) => {
      if (!cancelled) listener.fail(error);
      cancel = () => {};
    }).finally(() => {
      this.#pending.delete(leave);
      this.#work.delete(work);
      this.#onSettled();
    });
    this.#work.add(work);
    return leave;
  }

  #compile(request: GenerateRequest, signal: AbortSignal) {
    const { constraint, stopTokens, ignoreEos, visible = [] } = request;
    const { vocab } = this.#codec;
    if (!vocab) {
      throw new ConstraintError("constraint: this model does not tell what its tokens stand for");
    }
    if (ignoreEos) {
      throw new ConstraintError(
        "constraint: cannot be kept beside ignoreEos, which goes on past the end of the text",
      );
    }
    const shown = this.#codec.controlTokens?.(visible) ?? new Set<number>();
    return this.#compilerOf(vocab, shown).start(constraint!, stopTokens, signal);
  }

  #compilerOf(vocab: TokenSpellings, shown: ReadonlySet<number>): ConstraintCompiler {
    const key = [...shown].sort((a, b) => a - b).join();
    let compiler = this.#compilers.get(key);
    if (!compiler) {
      const bytes = (id: number) =>
        shown.has(id) ? encoder.encode(this.#codec.describe(id).token) : vocab.bytes(id);
      compiler = new ConstraintCompiler({ size: vocab.size, bytes }, this.#codec.endTokens);
      this.#compilers.set(key, compiler);
    }
    return compiler;
  }

  /** Cancels what waits for its constraint, and frees the compiler. */
  async close(): Promise<void> {
    for (const leave of [...this.#pending]) leave();
    await Promise.all(this.#work);
    for (const compiler of this.#compilers.values()) await compiler.close();
  }
}
