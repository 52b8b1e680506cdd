/** Decoding over long contexts: native steps against exact attention, and the embedded model's tokens/s by context length. @module */
import { inProject } from "../setup/project.ts";
import type { Bench } from "./harness.ts";
import { runNativeBench } from "./native_bench.ts";
import { conversation } from "./retrieval/conversation.ts";
import { longestModel } from "./retrieval/longest_model.ts";
import { measureDecode } from "./retrieval/measure_decode.ts";

/** Retrieval decoding. */
export const bench: Bench = {
  name: "retrieval",
  summary: "decoding over long contexts in CPU memory, against exact attention and dense decoding",
  async run(context) {
    await runNativeBench("retrieval", context, inProject("native", "bench"));
    await measureDecode(context);
    if (context.full) await conversation(context, await longestModel());
  },
};
