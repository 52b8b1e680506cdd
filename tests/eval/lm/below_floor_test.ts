import { assertEquals } from "@std/assert";
import type { BenchRow } from "../../../scripts/bench/harness.ts";
import { belowFloor } from "../../../scripts/eval/lm/below_floor.ts";

const row = (name: string, metric: string, value: number): BenchRow => ({
  bench: "lm",
  case: name,
  metric,
  value,
  unit: "",
  baseline: null,
  ratio: null,
  device: "",
  date: "",
});

Deno.test("belowFloor names the retrieval rows and texts that are too bad, and only those", () => {
  const rows = [
    row("variable_tracking_1k", "accuracy", 0.5),
    row("qa_16k", "accuracy", 0.9),
    row("common_words_1k", "accuracy", 0),
    row("wikitext2_test", "bits_per_byte", 1.8),
    row("held_out_book", "bits_per_byte", 1.9),
  ];
  assertEquals(belowFloor(rows), [
    "lm/variable_tracking_1k: accuracy 0.500, expected 0.7 or more",
    "lm/wikitext2_test: 1.800 bits per byte, expected 1.75 or less",
  ]);
});
