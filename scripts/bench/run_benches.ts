import type { Bench, BenchContext, BenchReport, BenchRow } from "./harness.ts";

/** What a run is given beside its benches. */
export interface RunOptions {
  full: boolean;
  data?: string;
  dump?: string;
  device: string;
  /** Called for each row as it is measured. */
  onRow?(row: BenchRow): void;
  /** Says something for people. */
  note(text: string): void;
}

/** What a run gave: its rows, and the benches that threw. */
export interface RunResult {
  rows: BenchRow[];
  failures: { bench: string; error: unknown }[];
}

/** Runs benches one after the other; one that throws does not stop the next. */
export async function runBenches(
  benches: readonly Bench[],
  options: RunOptions,
): Promise<RunResult> {
  const rows: BenchRow[] = [];
  const failures: RunResult["failures"] = [];
  for (const bench of benches) {
    const context: BenchContext = {
      full: options.full,
      data: options.data,
      dump: options.dump,
      device: options.device,
      note: options.note,
      report: (report) => {
        const row = toRow(bench.name, report, options.device);
        rows.push(row);
        options.onRow?.(row);
      },
    };
    try {
      await bench.run(context);
    } catch (error) {
      failures.push({ bench: bench.name, error });
    }
  }
  return { rows, failures };
}

function toRow(bench: string, report: BenchReport, device: string): BenchRow {
  const name = `${bench}/${report.case}/${report.metric}`;
  for (const number of [report.value, report.ratio ?? 0]) {
    if (!Number.isFinite(number)) throw new RangeError(`${name}: expected a number, got ${number}`);
  }
  return {
    bench,
    case: report.case,
    metric: report.metric,
    value: report.value,
    unit: report.unit,
    baseline: report.baseline ?? null,
    ratio: report.ratio ?? null,
    device: report.device ?? device,
    date: new Date().toISOString(),
  };
}
