/**
 * Ownership of one object that lives in the native library: released by `dispose`, or as a safety net when the owner is
 * collected. The owning class holds a `Handle` and makes itself `Disposable`.
 */
export class Handle {
  static readonly #registry = new FinalizationRegistry<() => void>((release) => release());
  readonly #kind: string;
  readonly #release: (id: bigint) => void;
  #id: bigint | undefined;

  /**
   * @param owner The object whose collection releases the handle.
   * @param kind What it is, for messages.
   * @param id The native side's number; see `native/abi/src/slab.rs`.
   * @param release Frees the native object. It must not refer to `owner`, or that is never collected.
   */
  constructor(owner: object, kind: string, id: bigint, release: (id: bigint) => void) {
    this.#kind = kind;
    this.#id = id;
    this.#release = release;
    Handle.#registry.register(owner, () => release(id), this);
  }

  /**
   * The native number.
   * @throws {TypeError} after `dispose`.
   */
  get id(): bigint {
    if (this.#id === undefined) {
      throw new TypeError(`This ${this.#kind} was disposed of and cannot be used.`);
    }
    return this.#id;
  }

  /** Frees the native object. Idempotent. */
  dispose(): void {
    if (this.#id === undefined) return;
    const id = this.#id;
    this.#id = undefined;
    Handle.#registry.unregister(this);
    this.#release(id);
  }
}
