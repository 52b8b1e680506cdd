/** Where a reporter writes. */
export interface ReportTarget {
  write(text: string): void;
  /** Whether a person watches it. */
  readonly isInteractive: boolean;
}

/** Milliseconds between redraws of a bar. */
const redrawMs = 100;
const barWidth = 28;

/**
 * Tells a person or a program what happens: on a terminal as text with a progress bar, elsewhere as one JSON line an
 * event.
 */
export class Reporter {
  readonly #target: ReportTarget;
  /** Tenths last told of, by event. */
  readonly #tenths = new Map<string, number>();
  #drawn = false;
  #lastDraw = -Infinity;

  constructor(target: ReportTarget) {
    this.#target = target;
  }

  /** Something happened. `text` is for people, `fields` for programs. */
  event(event: string, text: string, fields: Record<string, unknown> = {}): void {
    if (this.#target.isInteractive) {
      this.#erase();
      this.#target.write(`${text}\n`);
    } else {
      this.#target.write(`${JSON.stringify({ event, ...fields })}\n`);
    }
  }

  /** How far something is: `done` of `total` of `unit`. Off a terminal, one line in each tenth of the way. */
  progress(event: string, done: number, total: number, unit: string): void {
    const share = total > 0 ? Math.min(done / total, 1) : 1;
    const now = performance.now();
    if (this.#target.isInteractive) {
      if (now - this.#lastDraw < redrawMs && share < 1) return;
      this.#lastDraw = now;
      const full = Math.round(share * barWidth);
      const bar = "█".repeat(full) + "░".repeat(barWidth - full);
      this.#erase();
      this.#target.write(`${event} ${bar} ${Math.floor(share * 100)} % (${done}/${total} ${unit})`);
      this.#drawn = true;
      if (share === 1) this.#finishLine();
    } else {
      const tenth = Math.floor(share * 10);
      if (tenth === this.#tenths.get(event)) return;
      this.#tenths.set(event, tenth);
      this.#target.write(`${JSON.stringify({ event, done, total, unit })}\n`);
    }
  }

  #erase(): void {
    if (this.#drawn) this.#target.write("\r\x1b[2K");
    this.#drawn = false;
  }

  #finishLine(): void {
    this.#target.write("\n");
    this.#drawn = false;
  }
}
