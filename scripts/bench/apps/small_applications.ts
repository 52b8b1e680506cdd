import { chainSummary, mapReduce, multiAgent, sharedPrompt } from "./applications.ts";
import type { Caller } from "./caller.ts";
import { mixed } from "./mixed.ts";
import type { Texts } from "./texts.ts";

/** An application, driven by one client, or by as many as it opens with `each`. */
type Run = (caller: Caller, each: () => Caller) => Promise<unknown>;

/** The applications at a size that a small model on a processor takes seconds for. */
export function smallApplications(texts: Texts): Record<string, Run> {
  return {
    chain: (caller) =>
      chainSummary(caller, texts, { chunks: 20, chunkTokens: 200, outputTokens: 16 }),
    map_reduce: (caller) =>
      mapReduce(caller, texts, { chunks: 16, chunkTokens: 250, outputTokens: 16 }),
    shared_prompt: (caller) =>
      sharedPrompt(caller, texts, {
        users: 8,
        systemTokens: 2000,
        queryTokens: 20,
        outputTokens: 64,
      }),
    multi_agent: (caller) =>
      multiAgent(caller, texts, {
        coders: 4,
        rounds: 3,
        designTokens: 64,
        codeTokens: 64,
        reviewTokens: 24,
      }),
    mixed: (_, each) =>
      mixed(each, texts, {
        chats: 6,
        chatRate: 4,
        summaries: 3,
        chunks: 4,
        chunkTokens: 200,
        outputTokens: 16,
      }),
  };
}
