import { assert, assertEquals } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LocalEnginePool } from "../../src/engine/local_engine_pool.ts";
import { openModel } from "../../src/engine/open_model.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { GgufMetadata } from "../../src/formats/gguf_metadata.ts";
import { serve } from "../../src/server/serve.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { readEvents } from "../support/test_app.ts";
import { hermes, llama, mistral } from "../tokenizer/tool_templates.ts";

const path = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
const messages = [{ role: "user", content: "Which way?" }];
const tools = ["turn", "stop"].map((name) => ({
  type: "function",
  function: {
    name,
    parameters: {
      type: "object",
      properties: { way: { enum: ["left", "right"] } },
      required: ["way"],
      additionalProperties: false,
    },
  },
}));
const ids = [0, 1];

/** The embedded model with another template, and a token of it as the control token `mark`. */
async function openAs(template: string, mark: string) {
  let id = -1;
  const engine = await Engine.open(async () => {
    const opened = await openModel({ path, prepareLater: false });
    using file = GgufFile.open(path);
    const tokens = file.metadata.strings("tokenizer.ggml.tokens")
      .map((token) => token === "<|endoftext|>" ? mark : token);
    id = tokens.indexOf(mark);
    const codec = Tokenizer.fromGguf(
      new GgufMetadata(
        new Map([
          ...file.metadata,
          ["tokenizer.ggml.tokens", tokens],
          ["tokenizer.chat_template", template],
        ]),
      ),
    );
    return { ...opened, codec, info: { ...opened.info, chatTemplate: template } };
  });
  const server = await serve({ port: 0, pool: new LocalEnginePool(engine) });
  return { server, id, engine };
}

const forms = [
  { form: "hermes", template: hermes, mark: "<tool_call>" },
  { form: "mistral", template: mistral, mark: "[TOOL_CALLS]" },
  { form: "llama", template: llama, mark: "<|python_tag|>" },
];

for (const { form, template, mark } of forms) {
  const test = nativeProblem() === undefined ? gpuTest : Deno.test.ignore;
  test(`a model of the ${form} form calls by its own template and its control token`, async () => {
    const { server, id, engine } = await openAs(template, mark);
    try {
      assert(id > 0);
      const post = async (extra: Record<string, unknown>) => {
        const response = await fetch(`${server.url}/v1/chat/completions`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({
            messages,
            tools,
            max_tokens: 120,
            seed: 4,
            temperature: 1,
            ...extra,
          }),
        });
        assertEquals(response.status, 200, await response.clone().text());
        return response;
      };
      // The control token is made likely; after it the grammar leaves no other way than a call. With a minus, it is left out.
      for (const bias of [id, -id]) {
        const logit_bias = { [id]: bias > 0 ? 100 : -100 };
        // A tag of llama's by itself begins no call.
        const led = bias > 0 && form !== "llama";
        for (const tool_choice of ["required", ...(led ? ["auto"] : [])]) {
          const asked = { tool_choice, logit_bias, n: ids.length };
          const { choices } = await (await post(asked)).json();
          const streamed = ids.map(() => "");
          for (const event of (await readEvents(await post({ ...asked, stream: true })))) {
            const [choice] = event.choices ?? [];
            for (const call of choice?.delta.tool_calls ?? []) {
              streamed[choice.index] += `${call.function.name ?? ""}${call.function.arguments}`;
            }
            assert(!choice?.delta.content, JSON.stringify(choice));
          }
          for (const { index, message, finish_reason } of choices) {
            assertEquals(message.content, null, JSON.stringify(message));
            const calls = message.tool_calls.map(
              ({ function: f }: { function: { name: string; arguments: string } }) => {
                assert(["turn", "stop"].includes(f.name));
                if (finish_reason === "tool_calls") {
                  assert(["left", "right"].includes(JSON.parse(f.arguments).way));
                }
                return f.name + f.arguments;
              },
            );
            assertEquals(streamed[index], calls.join(""));
          }
        }
      }
      const [call] = (await (await post({ tool_choice: "required", max_tokens: 300 })).json())
        .choices[0].message.tool_calls;
      const answer = await post({
        messages: [
          ...messages,
          { role: "assistant", tool_calls: [{ ...call, id: "call_long_as_ours_are" }] },
          { role: "tool", tool_call_id: "call_long_as_ours_are", content: `gone ${mark}` },
        ],
        max_tokens: 8,
      });
      await answer.body?.cancel();
    } finally {
      await server.shutdown();
      await engine[Symbol.asyncDispose]();
    }
  });
}
