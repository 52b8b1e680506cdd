import type { Bench } from "./harness.ts";

/** Every bench, in the order they run: a file beside this one that exports `bench`. */
export const benchNames = [
  "kernels",
  "tokenizer",
  "text",
  "structured",
  "large",
  "large_retrieval",
  "server",
  "index",
  "retrieval",
  "prefill",
  "sparsity",
  "apps",
  "images",
  "video",
] as const;

/** Loads a bench by name; undefined when its file is not there. */
export async function loadBench(name: string): Promise<Bench | undefined> {
  const url = new URL(`./${name}.ts`, import.meta.url);
  try {
    await Deno.stat(url);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const module: { bench?: Bench } = await import(url.href);
  if (module.bench === undefined) throw new TypeError(`${url.pathname}: exports no "bench"`);
  return module.bench;
}
