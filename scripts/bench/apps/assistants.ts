import { Rng } from "../../../src/common/rng.ts";
import { sleep } from "../../../src/graph/clock.ts";
import type { Caller } from "./caller.ts";
import { filler } from "./texts.ts";

/** Prompt, query and output tokens of the paper's four assistants (its "GPTs" workload), drawn with equal chances. */
export const assistants = [
  { name: "productivity", system: 7437, query: 7, output: 704 },
  { name: "image", system: 1116, query: 8, output: 89 },
  { name: "programming", system: 1694, query: 4, output: 631 },
  { name: "data", system: 2031, query: 4, output: 416 },
];

/**
 * Users of four assistants, each with a long system prompt of its own, arrive at `rate` a second. Resolves to the
 * mean of latency over output tokens, in milliseconds, over all requests.
 */
export async function assistantMix(
  each: () => Caller,
  rate: number,
  requests: number,
): Promise<number> {
  const rng = new Rng(5);
  const caller = each();
  const systems = assistants.map(({ system, name }, i) =>
    `You are ${name}. ${filler(system * 4, 40 + i)}`
  );
  const latencies: Promise<number>[] = [];
  for (let request = 0; request < requests; request++) {
    const kind = rng.integer(assistants.length);
    const { query, output } = assistants[kind];
    const start = caller.clock.now();
    const parts = [systems[kind], `\nUser: ${filler(query * 4, 5000 + request)}\nAnswer: `];
    latencies.push(
      caller.read(caller.call(parts, output), "latency").then(() =>
        (caller.clock.now() - start) / output
      ),
    );
    await sleep(caller.clock, -Math.log(1 - rng.uniform()) * 1000 / rate);
  }
  const all = await Promise.all(latencies);
  return all.reduce((sum, value) => sum + value, 0) / all.length;
}
