import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { HostedEnginePool } from "../../src/engine/engine_pool.ts";
import { createApp } from "../../src/server/app.ts";
import type { FakeModelOptions } from "../support/fake_model.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";

const model = (id: string, options: FakeModelOptions = {}) => ({
  id,
  model: options,
  module: fakeModelModule,
});

Deno.test("a model answers as soon as one of its engines is open, whatever the others do", async () => {
  await using pool = new HostedEnginePool({
    models: [
      model("slow", { openError: "slow, then broken", openMs: 1500 }),
      model("quick"),
      model("quick", { openError: "broken" }),
    ],
    carrier: "worker",
  });
  let settled = false;
  const all = pool.models().finally(() => settled = true);
  const app = createApp({ pool, surfaces: [] });
  const ask = async (name: string) => {
    const body = JSON.stringify({ model: name, prompt: "abc", max_tokens: 4 });
    const headers = { "Content-Type": "application/json" };
    const url = "http://localhost/v1/completions";
    const answer = await app.fetch(new Request(url, { method: "POST", headers, body }));
    return [answer.status, await answer.text()] as const;
  };
  assertEquals((await pool.models("quick")).map(({ id }) => id), ["quick"]);
  assertEquals((await ask("quick"))[0], 200);
  assertEquals(settled, false, "the slow one still opens");
  const [status, text] = await ask("slow");
  assertEquals(status, 503);
  assertStringIncludes(text, "slow, then broken");
  await assertRejects(() => pool.models("slow"), TypeError, "slow, then broken");
  await assertRejects(() => pool.models("none"), TypeError, "no model");
  assertEquals((await all).map(({ id }) => id), ["quick"]);
});
