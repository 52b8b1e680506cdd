import type { RunnerSizes } from "../server/open_pool.ts";
import type { Flag } from "./flags.ts";
import { wholeNumber } from "./whole_number.ts";
import { UsageError } from "./usage_error.ts";

/** Flags that size a model's runner. */
export const sizeFlags = [
  {
    name: "context",
    kind: "number",
    value: "N",
    help: "Longest context in tokens (the model's own, or what --kv-memory holds)",
  },
  {
    name: "kv-memory",
    kind: "number",
    value: "GIB",
    help: "Memory for keys and values (8 on a GPU, 1 without)",
  },
  {
    name: "activations",
    kind: "text",
    value: "TYPE",
    help: "What quantised weights are multiplied with, f32 or int8 (int8 on NVIDIA's GPUs; f32)",
  },
] as const satisfies readonly Flag[];

/**
 * The sizes that flags ask for; undefined when none is given.
 * @throws {UsageError} for one out of range.
 */
export function runnerSizes(given: {
  context?: number;
  "kv-memory"?: number;
  activations?: string;
  "max-sequences"?: number;
  "batch-tokens"?: number;
  "retrieval-graph"?: boolean;
}): RunnerSizes | undefined {
  const memory = given["kv-memory"];
  if (memory !== undefined && !(memory > 0 && memory <= 1024)) {
    throw new UsageError(`--kv-memory: expected GiB above 0, at most 1024, got ${memory}`);
  }
  const { activations } = given;
  if (activations !== undefined && activations !== "f32" && activations !== "int8") {
    throw new UsageError(`--activations: expected f32 or int8, got ${activations}`);
  }
  const sizes = {
    activations,
    contextLength: wholeNumber("context", given.context, 64, 1 << 27),
    maxKvBytes: memory === undefined ? undefined : Math.floor(memory * 2 ** 30),
    maxSequences: wholeNumber("max-sequences", given["max-sequences"], 1, 1024),
    maxBatchTokens: wholeNumber("batch-tokens", given["batch-tokens"], 32, 65504),
    retrieval: given["retrieval-graph"] ? { fixed: true } : undefined,
  };
  const wanted = Object.entries(sizes).filter(([, value]) => value !== undefined);
  return wanted.length === 0 ? undefined : Object.fromEntries(wanted);
}
