import { assert, assertEquals } from "@std/assert";
import { testApp } from "../support/test_app.ts";

const path = "/v1/chat/completions";
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const named = (name: string) => ({ type: "function", function: { name } });
const tools = ["get_weather", "get_time"].map(named);
const twoCalls = ["get_weather", "get_time"].map((name) =>
  `<tool_call>\n${JSON.stringify({ name, arguments: {} })}\n</tool_call>`
).join("\n");
const allowing = (mode: "auto" | "required", ...names: string[]) => ({
  type: "allowed_tools",
  allowed_tools: { mode, tools: names.map(named) },
});

Deno.test("of allowed tools all are shown and those alone are called", async () => {
  for (const canConstrain of [true, false]) {
    const { post, pool } = testApp({ reply: () => twoCalls, canConstrain });
    const ask = async (tool_choice: unknown) =>
      (await (await post(path, { messages, tools, tool_choice })).json()).choices[0].message;
    if (canConstrain) {
      for (const mode of ["auto", "required"] as const) {
        await ask(allowing(mode, "get_weather"));
        const { prompt, constraint } = pool.requests.at(-1)!;
        assert(prompt.type === "chat" && constraint?.kind === "tool_calls");
        assertEquals(prompt.tools?.map(({ name }) => name), ["get_weather", "get_time"]);
        const { choice, parallel, tools: some } = constraint;
        assertEquals([choice, parallel, some.map(({ name }) => name)], [
          mode,
          true,
          ["get_weather"],
        ]);
      }
    } else {
      const [first, ...others] = (await ask(allowing("auto", "get_weather"))).tool_calls;
      assertEquals([first.function.name, others], ["get_weather", []]);
    }
  }
});

Deno.test("allowed tools are some of the request's own", async () => {
  const { post, pool } = testApp();
  for (
    const [tool_choice, param] of [
      [allowing("auto", "get_time", "nobody"), "tool_choice.allowed_tools.tools.1.function.name"],
      [allowing("auto"), "tool_choice.allowed_tools.tools"],
    ] as const
  ) {
    const response = await post(path, { messages, tools, tool_choice });
    assertEquals([response.status, (await response.json()).error.param], [400, param]);
  }
  assertEquals(pool.requests, []);
});
