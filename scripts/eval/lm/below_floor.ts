import type { BenchRow } from "../../bench/harness.ts";

/** Tasks that a check expects to be solved; counting words is not among them. */
const RETRIEVAL = [
  "single_needle",
  "multi_key",
  "multi_value",
  "multi_query",
  "variable_tracking",
  "key_value",
  "passkey",
  "qa",
];

/**
 * Least accuracy a check accepts. The model card's scores are 0.87 and above to 16K; with the four questions of a quick
 * context one wrong answer gives 0.75.
 */
const LEAST_ACCURACY = 0.7;

/** Most bits per byte of the encyclopaedia's test file; the start of the file is about as hard as the whole. */
const MOST_BITS_PER_BYTE = 1.75;

/** One line for every row that is worse than the embedded model should be. */
export function belowFloor(rows: readonly BenchRow[]): string[] {
  return rows.flatMap((row) => {
    const task = row.case.replace(/_[^_]+$/, "");
    if (row.metric === "accuracy" && RETRIEVAL.includes(task) && row.value < LEAST_ACCURACY) {
      return [
        `lm/${row.case}: accuracy ${row.value.toFixed(3)}, expected ${LEAST_ACCURACY} or more`,
      ];
    }
    if (row.case === "wikitext2_test" && row.value > MOST_BITS_PER_BYTE) {
      return [
        `lm/${row.case}: ${
          row.value.toFixed(3)
        } bits per byte, expected ${MOST_BITS_PER_BYTE} or less`,
      ];
    }
    return [];
  });
}
