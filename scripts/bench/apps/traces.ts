import { join } from "@std/path";
import { Rng } from "../../../src/common/rng.ts";
import { sleep } from "../../../src/graph/clock.ts";
import type { GraphCaller } from "./caller.ts";
import { filler } from "./texts.ts";

/** One request of a recorded service. */
export interface TraceRequest {
  /** Milliseconds since the first. */
  at: number;
  inputTokens: number;
  outputTokens: number;
  /** Blocks that its prompt begins with; equal ids are equal text. */
  blocks?: number[];
}

/** Files of a data folder's `apps`, by the name of the bench's row. */
export const traceFiles: Record<string, string> = {
  azure_conv: "AzureLLMInferenceTrace_conv.csv",
  azure_code: "AzureLLMInferenceTrace_code.csv",
  mooncake: "mooncake_conversation_trace.jsonl",
};

/** Tokens that one block id stands for in the Mooncake trace. */
const BLOCK_TOKENS = 512;

/** Reads the first `count` requests of a trace. Throws `SyntaxError` for a line that is not one. */
export async function readTrace(
  data: string,
  name: string,
  count: number,
): Promise<TraceRequest[]> {
  const file = traceFiles[name];
  const lines = (await Deno.readTextFile(join(data, "apps", file))).split("\n")
    .filter((line) => line.trim() !== "");
  const requests = file.endsWith(".csv")
    ? lines.slice(1, count + 1).map(readAzure)
    : lines.slice(0, count).map(readMooncake);
  const start = requests[0].at;
  for (const request of requests) {
    if (!Number.isFinite(request.at + request.inputTokens + request.outputTokens)) {
      throw new SyntaxError(`${file}: a line is not a request: ${JSON.stringify(request)}`);
    }
    request.at -= start;
  }
  return requests;
}

function readAzure(line: string): TraceRequest {
  const [time, input, output] = line.split(",");
  return {
    at: Date.parse(time.slice(0, 23).replace(" ", "T") + "Z"),
    inputTokens: Number(input),
    outputTokens: Number(output),
  };
}

function readMooncake(line: string): TraceRequest {
  const request = JSON.parse(line);
  return {
    at: request.timestamp,
    inputTokens: request.input_length,
    outputTokens: request.output_length,
    blocks: request.hash_ids,
  };
}

/** How a trace is replayed. */
export interface Replay {
  /** Mean requests a second, whatever the trace's own. */
  rate: number;
  /** Prompts and outputs are divided by this, so that one engine can take them. */
  shrink: number;
  /** Whether the share of requests that a person waits for is marked so. */
  criteria: boolean;
}

/** What came of it: the same requests are `urgent` with and without criteria. */
export interface ReplayResult {
  urgentP99TtftMs: number;
  bulkP99TtftMs: number;
  /** Time from first request to last answer. */
  makespanMs: number;
  /** Bulk tokens out, over the makespan. */
  bulkTokensPerSecond: number;
}

/** Replays a trace; every second request, drawn at random, is somebody's who waits, the rest is bulk work. */
export async function replay(
  caller: GraphCaller,
  trace: readonly TraceRequest[],
  options: Replay,
): Promise<ReplayResult> {
  const { clock } = caller;
  const rng = new Rng(9);
  const span = trace[trace.length - 1].at;
  const stretch = (trace.length * 1000 / options.rate) / Math.max(1, span);
  const start = clock.now();
  const work: Promise<void>[] = [];
  const marks: boolean[] = [];
  let bulkTokens = 0;
  for (const [index, request] of trace.entries()) {
    const wait = start + request.at * stretch - clock.now();
    if (wait > 0) await sleep(clock, wait);
    const urgent = rng.uniform() < 0.5;
    const tokens = Math.max(1, Math.round(request.outputTokens / options.shrink));
    if (!urgent) bulkTokens += tokens;
    const output = caller.call([promptOf(request, index, options.shrink)], tokens);
    const criteria = options.criteria && urgent ? "TTFT" : "throughput";
    work.push(caller.read(output, criteria).then(() => {}));
    marks.push(urgent);
  }
  await Promise.all(work);
  const makespanMs = clock.now() - start;
  const chains = caller.session.nodes;
  const ttft = (urgent: boolean) =>
    percentile(
      chains.filter((_, i) => marks[i] === urgent)
        .map(({ times }) => (times.firstToken ?? Infinity) - times.created),
      0.99,
    );
  return {
    urgentP99TtftMs: ttft(true),
    bulkP99TtftMs: ttft(false),
    makespanMs,
    bulkTokensPerSecond: bulkTokens / (makespanMs / 1000),
  };
}

function promptOf(request: TraceRequest, index: number, shrink: number): string {
  const tokens = Math.max(1, Math.round(request.inputTokens / shrink));
  if (!request.blocks) return filler(tokens * 4, 10_000 + index);
  const blockTokens = Math.round(BLOCK_TOKENS / shrink);
  return request.blocks.map((id) => filler(blockTokens * 4, 20_000 + id)).join("")
    .slice(0, tokens * 4);
}

function percentile(values: number[], share: number): number {
  const sorted = values.sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
