import type { StepPass } from "../gpu/pass.ts";
import type { ClockKeeper } from "../kernels/clock_keeper.ts";

/** Share of what a search is expected to take that the GPU is kept busy for: half of it is enough for the full clock, and what outlasts it is waited for. */
const BUSY_SHARE = 0.75;
/** No search is expected to take longer, so that one slow search costs the next step no more than this. */
const MOST_MS = 5;
/** Steps after which the GPU's clock is measured again, which takes a fiftieth of a step of an 8B model. */
const CLOCK_INTERVAL = 8;
/** Milliseconds without a search after which what was measured before counts no more. */
const IDLE_MS = 100;

/** Decides how long a GPU is kept busy while the CPU searches: for less than the search takes, whatever changed since the last. */
export class BusyGpu implements Disposable {
  readonly #clock: Pick<ClockKeeper, "record" | "measure"> & Disposable;
  /** By layer, milliseconds a key of the last two searches. */
  readonly #rates: [number, number][] = [];
  #searched = -Infinity;
  #measures = false;

  constructor(clock: Pick<ClockKeeper, "record" | "measure"> & Disposable) {
    this.#clock = clock;
  }

  /** Begins step number `step` at `now`, in milliseconds. */
  begin(step: number, now: number): void {
    const idle = now - this.#searched > IDLE_MS;
    // A GPU that waited has another clock, and a search after a pause takes another time.
    if (idle) this.#rates.length = 0;
    this.#measures = idle || step % CLOCK_INTERVAL === 0;
  }

  /** Records work for while `keys` keys of `layer` are searched; none until two searches of the layer were noted. */
  record(pass: StepPass, layer: number, keys: number): void {
    const rates = this.#rates[layer];
    if (rates) this.#clock.record(pass, BUSY_SHARE * Math.min(MOST_MS, keys * Math.min(...rates)));
  }

  /** Measures the clock if it is time to: in a step's first layer, while the GPU waits. Blocks. */
  measure(layer: number): void {
    if (layer === 0 && this.#measures) this.#clock.measure();
  }

  /** Takes down a search that ended at `now`. */
  note(layer: number, keys: number, milliseconds: number, now: number): void {
    this.#searched = now;
    const [, last] = this.#rates[layer] ?? [0, 0];
    this.#rates[layer] = [last, milliseconds / Math.max(1, keys)];
  }

  /** Frees the clock keeper. */
  [Symbol.dispose](): void {
    this.#clock[Symbol.dispose]();
  }
}
