import { GraphError } from "./graph_error.ts";

/**
 * Something that there is only so much of, and that tenants share. One of several may hold half of what the others leave, so that there is
 * always some for one that comes later; one that is alone may hold all.
 */
export class FairShare {
  /** Held by all together, at most. */
  readonly most: number;
  readonly #unit: string;
  readonly #several: boolean;
  readonly #tenants = new Map<string, number>();
  #held = 0;

  /** `most` of `unit`, to be shared when `several` tenants may come. */
  constructor(unit: string, most: number, several: boolean) {
    this.#unit = unit;
    this.most = most;
    this.#several = several;
  }

  /** Held by all together. */
  get held(): number {
    return this.#held;
  }

  /** Whether `tenant` may hold `amount` more. */
  fits(tenant: string, amount: number): boolean {
    return amount <= this.#room(tenant);
  }

  /** Throws `GraphError` (limit) that begins with `what`, and says whose limit it is, when `tenant` may not hold `amount` more. */
  check(tenant: string, amount: number, what: string): void {
    if (this.fits(tenant, amount)) return;
    const own = this.#tenants.get(tenant) ?? 0;
    const left = this.most - this.#held + own;
    const full = !this.#several || amount > this.most - this.#held;
    throw new GraphError(
      "limit",
      full
        ? `${what}: all sessions of the server hold ${this.#held} ${this.#unit}, expected at most ${this.most}`
        : `${what}: the sessions of this key hold ${own} ${this.#unit}, expected at most half of the ${left} that other keys leave`,
    );
  }

  /** Counts `amount` more, or less, for `tenant`, even beyond its share: what a restart brings back is there. */
  add(tenant: string, amount: number): void {
    const own = (this.#tenants.get(tenant) ?? 0) + amount;
    if (own === 0) this.#tenants.delete(tenant);
    else this.#tenants.set(tenant, own);
    this.#held += amount;
  }

  #room(tenant: string): number {
    const free = this.most - this.#held;
    return this.#several ? (free - (this.#tenants.get(tenant) ?? 0)) / 2 : free;
  }
}
