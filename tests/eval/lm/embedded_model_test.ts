import { assertEquals } from "@std/assert";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import { gpuTest } from "../../support/needs_adapter.ts";

interface Expected {
  prompt: string;
  tokens: number;
  text: string;
}

gpuTest(
  "the embedded model writes the text that llama.cpp writes, 200 tokens of three prompts",
  async () => {
    const expected: Expected[] = JSON.parse(
      await Deno.readTextFile(
        new URL("../../golden/text/sparrow_tiny_greedy.json", import.meta.url),
      ),
    );
    await using engine = await TextEngine.open({
      model: new URL("../../../models/sparrow-tiny.gguf", import.meta.url),
    });
    const written = await Promise.all(expected.map(async ({ prompt, tokens }) => {
      const { text, ids } = await engine.complete([{ type: "text", text: prompt, special: true }], {
        maxTokens: tokens,
        ignoreEos: true,
      });
      assertEquals(ids.length, tokens);
      return text;
    }));
    // The last code point may be cut in one of the two.
    const whole = (text: string) => text.replace(/\ufffd+$/, "");
    assertEquals(written.map(whole), expected.map(({ text }) => whole(text)));
  },
);

gpuTest("the embedded model answers a chat from its context", async () => {
  await using engine = await TextEngine.open({
    model: new URL("../../../models/sparrow-tiny.gguf", import.meta.url),
  });
  const facts = ["quiet-harbour is 48213", "old-stone is 77120", "green-lantern is 90342"];
  const content = facts.map((fact) => `The magic number of ${fact}.`).join("\n") +
    "\n\nWhat is the magic number of old-stone?";
  const { text, reason } = await engine.complete([{ role: "user", content }], { maxTokens: 32 });
  assertEquals([text, reason], ["The magic number of old-stone is 77120.", "stop"]);
});
