import { assert } from "@std/assert";
import type { MixedResult } from "../../scripts/bench/apps/mixed.ts";
import { requestByRequest, simulate } from "../../scripts/bench/apps/sim_world.ts";
import { smallApplications } from "../../scripts/bench/apps/small_applications.ts";
import { Texts } from "../../scripts/bench/apps/texts.ts";
import type { CostModel } from "../../src/graph/sim/cost_model.ts";

/**
 * An engine where a step of prompts takes ten times one that decodes: `sparrow-tiny` on 2 cores with software Vulkan, in processor time,
 * or one `slower` by a factor. A prompt token stands for 1.33 of its own.
 */
function processor(slower: number): CostModel {
  const table = [
    [1, 4.6],
    [2, 7.4],
    [3, 8.2],
    [8, 9],
    [9, 15],
    [16, 16.6],
    [17, 20],
    [32, 21.5],
    [33, 29],
    [64, 35.5],
    [65, 49],
    [96, 52.5],
    [97, 67],
    [128, 69.5],
    [256, 142],
    [512, 300],
  ].map(([tokens, ms]) => [tokens, ms * slower] as const);
  const scale = 1.33;
  return {
    overheadMs: 0,
    weightsMs: 0,
    computeMsPerToken: 0,
    measured: { table, promptTokens: scale, tileTokens: 1 },
    attentionMsPerToken: 0.0008 * scale * slower,
    prefillAttentionMs: 0,
    kvTokens: 24_000,
    batchTokens: 384,
    mixedTokens: 48,
    sequences: 32,
    latencyTokens: Infinity,
    latencyPrefillTokens: Infinity,
  };
}

const run = async (name: string, roundTripMs: number, slower: number) => {
  const application = smallApplications(await Texts.open())[name];
  const options = {
    cost: processor(slower),
    roundTripMs,
    sharedAttention: "once",
    generatedChars: 3,
    pageTokens: 8,
  } as const;
  const graph = await simulate({ kind: "graph" }, options, application);
  const requests = await simulate(requestByRequest, options, application);
  return { graph, requests };
};

Deno.test("mixed on an engine whose steps wait for arithmetic: neither chats nor jobs are worse off as graphs", async () => {
  for (const slower of [0.8, 1, 1.5, 2]) {
    for (const roundTripMs of [0, 250]) {
      const { graph, requests } = await run("mixed", roundTripMs, slower);
      const [ours, theirs] = [graph.value as MixedResult, requests.value as MixedResult];
      const gains = {
        chat: theirs.chatMsPerToken / ours.chatMsPerToken,
        job: theirs.jobSeconds / ours.jobSeconds,
        all: theirs.completionMs / ours.completionMs,
      };
      const what = `${slower} times slower, ${roundTripMs} ms: ${JSON.stringify(gains)}`;
      assert(gains.chat >= 1.1 && gains.job >= 1 && gains.all >= 1.05, what);
    }
  }
});

Deno.test("map_reduce on an engine whose steps wait for arithmetic: no slower as a graph, though its maps are throughput work", async () => {
  const { graph, requests } = await run("map_reduce", 0, 1);
  assert(graph.ms < requests.ms, `graph ${graph.ms} ms, requests ${requests.ms} ms`);
});

Deno.test("chain on an engine whose steps wait for arithmetic: prompts are filled beside the decoding of the call before", async () => {
  const { graph, requests } = await run("chain", 0, 1);
  assert(graph.ms < 0.94 * requests.ms, `graph ${graph.ms} ms, requests ${requests.ms} ms`);
});
