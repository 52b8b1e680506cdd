import { assertEquals } from "@std/assert";
import type { GenerateEvent } from "../../src/engine/types.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import { ServerMetrics } from "../../src/server/metrics.ts";
import { TrackedPool } from "../../src/server/tracked_pool.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

Deno.test("tokens that come together count one by one in the time per token", async () => {
  const pool = new FakeEnginePool();
  const deltas = [[1], [2, 3, 4], [5, 6]];
  pool.submit = ({ id }) => ({
    id,
    cancel: () => {},
    async *[Symbol.asyncIterator](): AsyncGenerator<GenerateEvent> {
      for (const ids of deltas) yield { type: "delta", ids, text: "x" };
    },
  });
  const metrics = new ServerMetrics(pool);
  const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text: "x" }] };
  const sampling = greedy;
  for await (const _ of new TrackedPool(pool, metrics).submit({ id: "a", prompt, sampling }));
  const text = await metrics.expose();
  const count = (name: string) =>
    Number(text.match(new RegExp(`^${name}_count\\{model="fake"\\} (\\d+)$`, "m"))?.[1]);
  assertEquals(count("sparrow_time_to_first_token_seconds"), 1);
  assertEquals(count("sparrow_time_per_output_token_seconds"), 5);
});
