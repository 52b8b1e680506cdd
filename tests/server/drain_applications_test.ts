import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { testApp } from "../support/test_app.ts";
import { defaultSurfaces } from "../../src/server/surfaces.ts";
import { until } from "../support/until.ts";

/** Calls that continue each other; each takes `tokens` tokens. */
function chain(names: string[], tokens: number) {
  return names.map((ref, i) => ({
    template: "Say {{i}} {{o}}",
    parameters: [
      { name: "i", is_output: false, ...(i === 0 ? { value: "x" } : { ref: names[i - 1] }) },
      {
        name: "o",
        is_output: true,
        ref,
        sampling_config: { max_gen_length: tokens },
        // Takes a worker, during which no generation runs.
        transforms: [{ kind: "regex", pattern: "(.+)+" }],
      },
    ],
  }));
}

Deno.test("shutdown lets applications end that run, to their last step, and takes no new ones", async () => {
  const { app, pool, post } = testApp({ tokenDelayMs: 5 }, {}, defaultSurfaces());
  const graph = { calls: chain(["a", "b", "c"], 8), reads: [{ ref: "c" }] };
  const running = (await post("/v1/apps", graph)).text();
  await until(() => pool.requests.length > 0, "the first step runs");
  const stopped = app.shutdown(20_000);
  const late = await post("/v1/apps", graph);
  assertEquals(late.status, 503);
  assertStringIncludes(await late.text(), "shutting down");
  const text = await running;
  assertStringIncludes(text, '"content":');
  assertEquals(await stopped, 0);
});

Deno.test("shutdown cuts applications at the deadline", async () => {
  const { app, pool, post } = testApp({ tokenDelayMs: 20 }, {}, defaultSurfaces());
  const graph = { calls: chain(["a", "b"], 500), reads: [{ ref: "b" }] };
  const running = (await post("/v1/apps", graph)).text();
  await until(() => pool.requests.length > 0, "the first step runs");
  const start = performance.now();
  assertEquals(await app.shutdown(100), 1);
  assertLess(performance.now() - start, 2000);
  assertStringIncludes(await running, '"status":503');
});
