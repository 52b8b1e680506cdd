import { KvContext, type KvContextShape } from "../../ffi/kv_context.ts";
import type { RetrievalTotals } from "./retrieval_totals.ts";
import type { Search } from "./step_side.ts";

/** Attention over what contexts hold in CPU memory, which `totals` takes account of. */
export function searchContexts({ layers }: KvContextShape, totals: RetrievalTotals): Search {
  return ({ retrieving, result, bound, keysHeld }, place, queries) => {
    const start = performance.now();
    KvContext.attend(retrieving, place, queries, result, bound);
    totals.add({
      layer: place,
      layers,
      reports: result.reports,
      bound,
      rows: retrieving.length,
      keysHeld,
      seconds: (performance.now() - start) / 1000,
    });
    return result;
  };
}
