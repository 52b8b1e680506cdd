import type { AttendResult, KvContextShape } from "../../ffi/kv_context.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { KvSession } from "./kv_session.ts";

/** Rows of a step whose queries a session takes. */
export interface SampledRows {
  session: KvSession;
  /** Rows of the step. */
  rows: number[];
}

/** What retrieval does in a step. */
export interface PlannedStep {
  /** The context's layer whose queries the GPU was given to compute, and what it does once it has: attention to CPU memory is still to come. */
  asked?: { place: number; meanwhile: StepPass | undefined } | undefined;
  retrieving: KvSession[];
  samples: SampledRows[];
  /** Keys in CPU memory, of all query heads of all rows that retrieve. */
  keysHeld: number;
  result: AttendResult;
  /** Whether the bound on what is not computed is wanted. */
  bound: boolean;
}

/** Room for what `count` rows find, all heads of a layer. */
export function emptyResult({ heads, stride }: KvContextShape, count: number): AttendResult {
  return {
    output: new Float32Array(count * heads * stride),
    lse: new Float32Array(count * heads),
    reports: new Float32Array(count * heads * 3),
  };
}
