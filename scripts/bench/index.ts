/**
 * The native index against its peers: a Rust program of its own (`native/bench`), because that is where the peers are.
 * It is built at the first run, which takes minutes.
 * @module
 */

import { inProject } from "../setup/project.ts";
import { runNativeBench } from "./native_bench.ts";
import type { Bench } from "./harness.ts";

/** `index/<set>_<layer>/…` rows; the real sets need `--data`. */
export const bench: Bench = {
  name: "index",
  summary: "Vector index: keys scanned, queries/s and build time against HNSW, usearch and IVF",
  run: (context) => runNativeBench("index", context, inProject("native", "bench")),
};
