import type { BenchRow } from "./harness.ts";

/** Rows as a table for people, one line each, numbers aligned. */
export function formatTable(rows: readonly BenchRow[]): string {
  const header = ["bench/case/metric", "value", "unit", "against", "ratio"];
  const cells = rows.map((row) => [
    `${row.bench}/${row.case}/${row.metric}`,
    formatValue(row.value),
    row.unit,
    row.baseline ?? "",
    row.ratio === null ? "" : `${formatValue(row.ratio)}×`,
  ]);
  const widths = header.map((title, i) =>
    Math.max(title.length, ...cells.map((cell) => cell[i].length))
  );
  const rightAligned = [false, true, false, false, true];
  const line = (cell: string[]) =>
    cell.map((text, i) => rightAligned[i] ? text.padStart(widths[i]) : text.padEnd(widths[i]))
      .join("  ").trimEnd();
  return [line(header), line(widths.map((w) => "-".repeat(w))), ...cells.map(line)].join("\n");
}

/** Four significant digits, without an exponent for everyday sizes. */
export function formatValue(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e7 || size < 1e-4) return value.toExponential(3);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}
