import { Rng } from "../../../src/common/rng.ts";
import { sleep } from "../../../src/graph/clock.ts";
import type { Criteria } from "../../../src/graph/criteria.ts";
import { mapReduce } from "./applications.ts";
import type { Caller } from "./caller.ts";
import type { Texts } from "./texts.ts";

/** Chat and map-reduce on the same engines, in the measure of the Parrot paper's mixed workload. */
export interface MixedShape {
  chats: number;
  /** Per second. */
  chatRate: number;
  summaries: number;
  chunks: number;
  chunkTokens: number;
  outputTokens: number;
}

/** The paper's: 40 chat requests at one a second, nine map-reduce jobs at once, chunks of 1024 tokens, 50 out. */
export const paperMixed: MixedShape = {
  chats: 40,
  chatRate: 1,
  summaries: 9,
  chunks: 20,
  chunkTokens: 1024,
  outputTokens: 50,
};

/** What came of it, in means. */
export interface MixedResult {
  /** From a chat request's sending to its last token, over its tokens. */
  chatMsPerToken: number;
  /** From a job's sending to its end. */
  jobSeconds: number;
  /** From sending to end, over chat requests and jobs alike. */
  completionMs: number;
}

/** Runs it. `each` gives every chat user and every job a client of its own. */
export async function mixed(
  each: () => Caller,
  texts: Texts,
  shape: MixedShape,
): Promise<MixedResult> {
  const clock = each().clock;
  const rng = new Rng(3);
  const chats: Promise<{ ms: number; tokens: number }>[] = [];
  const jobs: Promise<number>[] = [];
  for (let job = 0; job < shape.summaries; job++) {
    const start = clock.now();
    jobs.push(
      mapReduce(each(), shifted(texts, job * shape.chunks), shape, "throughput")
        .then(() => (clock.now() - start) / 1000),
    );
  }
  for (let user = 0; user < shape.chats; user++) {
    chats.push(chat(each(), texts, user, rng));
    await sleep(clock, -Math.log(1 - rng.uniform()) * 1000 / shape.chatRate);
  }
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const ended = await Promise.all(chats);
  const seconds = await Promise.all(jobs);
  return {
    chatMsPerToken: mean(ended.map(({ ms, tokens }) => ms / tokens)),
    jobSeconds: mean(seconds),
    completionMs: mean([...ended.map(({ ms }) => ms), ...seconds.map((s) => s * 1000)]),
  };
}

/** One turn of a chat with lengths like ShareGPT's (log-normal: some 160 tokens in and 250 out in the mean). */
async function chat(
  caller: Caller,
  texts: Texts,
  user: number,
  rng: Rng,
): Promise<{ ms: number; tokens: number }> {
  const length = (median: number, spread: number, most: number) =>
    Math.round(Math.min(most, Math.max(8, median * Math.exp(spread * rng.normal()))));
  const prompt = texts.query(user, length(100, 1, 1000));
  const tokens = length(180, 0.8, 800);
  const start = caller.clock.now();
  const criteria: Criteria = "latency";
  await caller.read(caller.call([`User: ${prompt}\nAssistant: `], tokens), criteria);
  return { ms: caller.clock.now() - start, tokens };
}

/** The same texts, other chunks. */
function shifted(texts: Texts, by: number): Pick<Texts, "article" | "system" | "query"> {
  return {
    article: (index, tokens) => texts.article(index + by, tokens),
    system: (tokens) => texts.system(tokens),
    query: (user, tokens) => texts.query(user, tokens),
  };
}
