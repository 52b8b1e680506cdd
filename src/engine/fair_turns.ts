/**
 * Turns of requests in a queue, so that the scopes that wait go alternately, however many requests each has: start-time fair queueing with requests for a cost. Those
 * of one scope keep their order.
 */
export class FairTurns {
  /** The latest turn that came. */
  #now = 0;
  /** Each scope's next turn, if that is to come. */
  readonly #next = new Map<string, number>();

  /** The turn of the next request of a scope. */
  take(scope: string): number {
    const turn = Math.max(this.#now, this.#next.get(scope) ?? 0);
    this.#next.set(scope, turn + 1);
    return turn;
  }

  /** Tells of a turn that came. */
  came(turn: number): void {
    if (turn <= this.#now) return;
    this.#now = turn;
    for (const [scope, next] of this.#next) if (next <= turn) this.#next.delete(scope);
  }
}
