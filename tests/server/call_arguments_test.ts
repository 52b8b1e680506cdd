import { assert, assertEquals } from "@std/assert";
import { testApp } from "../support/test_app.ts";

const tools = [{ type: "function", function: { name: "get" } }];

Deno.test("arguments whose numbers doubles do not hold reach the engine as they were written, too", async () => {
  const { post, pool } = testApp({ reply: () => "ab" });
  for (
    const [text, written] of [
      ['{"a": 9007199254740993}', true],
      ['{"a": [{"b": 1.0}]}', true],
      [`{"a": ${"9".repeat(400)}}`, true],
      ['{"a": 9007199254740991, "b": -0.5, "c": "1.0"}', false],
      // More digits than Python reads.
      [`{"a": ${"9".repeat(5000)}}`, false],
    ] as const
  ) {
    const call = { id: "c", type: "function", function: { name: "get", arguments: text } };
    const item = { type: "function_call", call_id: "c", name: "get", arguments: text };
    const result = { type: "function_call_output", call_id: "c", output: "" };
    const bodies: [path: string, body: unknown][] = [
      ["/v1/chat/completions", {
        messages: [
          { role: "user", content: "Hi" },
          { role: "assistant", content: null, tool_calls: [call] },
          { role: "tool", tool_call_id: "c", content: "" },
        ],
        tools,
      }],
      ["/v1/responses", { input: [{ role: "user", content: "Hi" }, item, result] }],
    ];
    for (const [path, body] of bodies) {
      const response = await post(path, body);
      assertEquals(response.status, 200, await response.text());
      const { prompt } = pool.requests.at(-1)!;
      assert(prompt.type === "chat");
      assertEquals(prompt.messages[1].toolCalls, [{
        id: "c",
        name: "get",
        arguments: JSON.parse(text),
        ...(written && { written: text }),
      }]);
    }
  }
});
