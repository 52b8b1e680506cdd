import { assert, assertEquals, assertMatch } from "@std/assert";
import { ServerProcess } from "../../scripts/bench/server_process.ts";
import { GgufFile } from "../../src/formats/gguf.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { likeliest, logSoftmax } from "../oracle/sampling.ts";
import { openTestGpu } from "../support/gpu.ts";
import { ModelUnderTest, TestSequence } from "../support/model_under_test.ts";
import { hasAdapter } from "../support/needs_adapter.ts";
import { readEvents } from "../support/test_app.ts";

const path = new URL("../../models/sparrow-mini.gguf", import.meta.url).pathname;
if (!hasAdapter) console.log("skipped: log probabilities of a served model (no GPU adapter)");
const under = hasAdapter ? await ModelUnderTest.open(await openTestGpu(), path, "f16") : undefined;
using file = GgufFile.open(path);
const tokenizer = Tokenizer.fromGguf(file.metadata);

interface TextLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

/** Log probabilities of every token after each of `ids`, from the logits of one prefill. */
function plain(ids: readonly number[]): Float64Array[] {
  const sequence = new TestSequence(0, [0, 1, 2, 3]);
  const { logits } = under!.step([sequence.prefill(ids)], { everyRow: true });
  return logits.map((row) => logSoftmax(row));
}

function joined(parts: TextLogprobs[]): TextLogprobs {
  return {
    tokens: parts.flatMap((part) => part.tokens),
    token_logprobs: parts.flatMap((part) => part.token_logprobs),
    top_logprobs: parts.flatMap((part) => part.top_logprobs),
    text_offset: parts.flatMap((part) => part.text_offset),
  };
}

Deno.test({
  name: "sparrow serve returns log probabilities of answers and of given texts",
  ignore: !hasAdapter,
  fn: async (t) => {
    await using server = await ServerProcess.start(["--model", path]);
    const send = (route: string, body: unknown) =>
      fetch(`${server.url}/v1/${route}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    const post = async (route: string, body: unknown) => {
      const response = await send(route, body);
      assertEquals(response.status, 200);
      return await response.json();
    };
    const text = "The quick sparrow flew over the old garden wall, and sang “été” twice.";
    const ids = tokenizer.encode(text);

    await t.step(
      "echo with max_tokens 0 gives those of a text, as plain TypeScript computes them",
      async () => {
        const expected = plain(ids);
        for (const prompt of [text, ids]) {
          const { choices: [choice], usage } = await post("completions", {
            prompt,
            max_tokens: 0,
            echo: true,
            logprobs: 5,
          });
          assertEquals(choice.text, text);
          assertEquals(choice.finish_reason, "length");
          assertEquals([usage.prompt_tokens, usage.completion_tokens], [ids.length, 0]);
          const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
          assertEquals(tokens, ids.map((id) => tokenizer.describe(id).token));
          assertEquals([token_logprobs[0], top_logprobs[0]], [null, null]);
          const near = (a: number, b: number) => Math.abs(a - b) < 1e-3 * (1 + Math.abs(b));
          for (const [i, id] of ids.entries()) {
            const before = tokenizer.decode(ids.slice(0, i)).replace(/\ufffd+$/, "");
            assertEquals(text_offset[i], [...before].length, `offset of token ${i}`);
            if (i === 0) continue;
            const row = expected[i - 1];
            assert(near(token_logprobs[i], row[id]), `${token_logprobs[i]}, expected ${row[id]}`);
            assertEquals(top_logprobs[i][tokens[i]], token_logprobs[i]);
            for (const each of likeliest(row, 5)) {
              const found = top_logprobs[i][tokenizer.describe(each).token];
              assert(near(found, row[each]), `token ${i}: ${found}, expected ${row[each]}`);
            }
            assert(Object.keys(top_logprobs[i]).length <= 6);
          }
        }
      },
    );

    await t.step("a text has the same log probabilities echoed as generated", async () => {
      const asked = { prompt: ids, max_tokens: 40, temperature: 0, logprobs: 1, ignore_eos: true };
      const { choices: [written] } = await post("completions", asked);
      const tokens: string[] = written.logprobs.tokens;
      const likely = written.logprobs.top_logprobs as Record<string, number>[];
      assertEquals(likely.map((top) => Object.keys(top)), tokens.map((token) => [token]));
      // As lm-evaluation-harness asks: one token more than the text, which it leaves out again.
      const all = [...ids, ...tokens.map((token) => tokenizer.vocab.ids.get(spelt(token))!)];
      const { choices: [read] } = await post("completions", {
        prompt: [all],
        max_tokens: 1,
        temperature: 0,
        logprobs: 1,
        echo: true,
        seed: 1234,
      });
      assertEquals(read.logprobs.tokens.length, all.length + 1);
      const again = read.logprobs.token_logprobs.slice(ids.length, -1);
      written.logprobs.token_logprobs.forEach((logprob: number, i: number) =>
        // Prompts and decode round apart where products are made natively.
        assert(Math.abs(again[i] - logprob) < 5e-3, `token ${i}: ${again[i]}, ${logprob} generated`)
      );
      const top = read.logprobs.top_logprobs.slice(ids.length, -1);
      again.forEach((logprob: number, i: number) =>
        assertEquals(Math.max(...Object.values(top[i]) as number[]), logprob)
      );
    });

    await t.step(
      "streams say what whole answers say, each token in the chunk of its text",
      async () => {
        const asked = {
          prompt: ["Once upon a time", "Été “", "x"],
          n: 2,
          seed: 5,
          max_tokens: 40,
          logprobs: 3,
          stop: ["the", ", and", "."],
          echo: true,
        };
        const { choices } = await post("completions", asked);
        const events = await readEvents(await send("completions", { ...asked, stream: true }));
        for (const { index, text, logprobs } of choices) {
          const own = events.flatMap((event) => event.choices ?? []).filter((c) =>
            c.index === index
          );
          assertEquals(own.map((c) => c.text).join(""), text);
          const parts = own.flatMap((c) => c.logprobs ? [c.logprobs as TextLogprobs] : []);
          assertEquals(joined(parts), logprobs);
          let length = 0;
          for (const chunk of own) {
            const before = length;
            length += [...chunk.text].length;
            const { tokens = [], text_offset = [] } = (chunk.logprobs ?? {}) as Partial<
              TextLogprobs
            >;
            tokens.forEach((token, i) => {
              if (token.startsWith("<|") || token.includes("\\x")) return;
              // A token comes with the end of its text: what might begin a stop string is held back.
              const end = text_offset[i] + [...token].length;
              assert(
                end > before && end <= length,
                `${token} ends at ${end}: ${before} to ${length}`,
              );
            });
          }
        }
      },
    );

    await t.step("a constraint does not show in what the model thinks", async () => {
      const { choices: [forced] } = await post("completions", {
        prompt: ids,
        max_tokens: 12,
        temperature: 0,
        logprobs: 2,
        structured_outputs: { regex: "[0-9]{4}-[0-9]{2}" },
      });
      assertMatch(forced.text, /^[0-9]{4}-[0-9]{2}$/);
      const { tokens, token_logprobs, top_logprobs } = forced.logprobs as TextLogprobs;
      // Tokens of ASCII are spelt as they are read.
      const answer = tokens.map((token) => tokenizer.vocab.ids.get(token)!);
      const expected = plain([...ids, ...answer]);
      token_logprobs.forEach((logprob, i) => {
        const wanted = expected[ids.length - 1 + i][answer[i]];
        assert(Math.abs(logprob! - wanted) < 1e-3 * (1 - wanted), `${logprob}, expected ${wanted}`);
      });
      const likely = top_logprobs.flatMap((top) => Object.keys(top!));
      assert(likely.some((token) => !/^[0-9-]+$/.test(token)), `${likely} are all allowed`);
    });

    await t.step("chats have them too, streamed and whole", async () => {
      const asked = {
        messages: [{ role: "user", content: "What is your name?" }],
        temperature: 0,
        max_tokens: 40,
        logprobs: true,
        top_logprobs: 4,
      };
      const { choices: [choice], usage } = await post("chat/completions", asked);
      const { content, refusal } = choice.logprobs;
      assertEquals(refusal, null);
      assertEquals(content.length, usage.completion_tokens);
      const bytes = content.flatMap((token: { bytes: number[] }) => token.bytes);
      assertEquals(new TextDecoder().decode(Uint8Array.from(bytes)), choice.message.content);
      for (const { token, logprob, top_logprobs } of content) {
        assertEquals(top_logprobs.length, 4);
        assertEquals([top_logprobs[0].token, top_logprobs[0].logprob], [token, logprob]);
        const mass = top_logprobs.reduce(
          (sum: number, each: { logprob: number }) => sum + Math.exp(each.logprob),
          0,
        );
        assert(mass <= 1 + 1e-5 && logprob <= 0);
      }
      const events = await readEvents(await send("chat/completions", { ...asked, stream: true }));
      const streamed = events.flatMap((event) => event.choices?.[0]?.logprobs?.content ?? []);
      assertEquals(streamed, content);
      const bare = await post("chat/completions", { ...asked, top_logprobs: undefined });
      assertEquals(
        bare.choices[0].logprobs.content.map((each: { top_logprobs: unknown[] }) =>
          each.top_logprobs
        ),
        content.map(() => []),
      );
      const without = await post("chat/completions", {
        ...asked,
        logprobs: false,
        top_logprobs: 0,
      });
      assertEquals(without.choices[0].logprobs, null);
      assertEquals(without.choices[0].message.content, choice.message.content);
    });

    await t.step(
      "echo goes without log probabilities, and end tokens come last with them",
      async () => {
        const { choices: [echoed] } = await post("completions", {
          prompt: text,
          echo: true,
          max_tokens: 0,
        });
        assertEquals([echoed.text, echoed.logprobs], [text, null]);
        const turn = "<|im_start|>user\nWhat is your name?<|im_end|>\n<|im_start|>assistant\n";
        const { choices: [ended] } = await post("completions", {
          prompt: turn,
          max_tokens: 60,
          temperature: 0,
          logprobs: 0,
          echo: true,
        });
        assertEquals(ended.finish_reason, "stop");
        assert(ended.text.startsWith(turn));
        const { tokens, text_offset, token_logprobs } = ended.logprobs as TextLogprobs;
        assertEquals(tokens.at(-1), "<|im_end|>");
        assertEquals(text_offset.at(-1), [...ended.text as string].length);
        assertEquals(tokens.slice(0, -1).join(""), ended.text);
        assert(token_logprobs.slice(1).every((logprob) => logprob !== null && logprob <= 0));
      },
    );

    await t.step("the tokenizer tells clients of its special tokens and template", async () => {
      const info = await (await fetch(`${server.url}/tokenizer_info`)).json();
      assertEquals([info.bos_token, info.eos_token], ["<|endoftext|>", "<|im_end|>"]);
      assert(info.chat_template.includes("<|im_start|>") && info.model_max_length > 0);
    });

    await t.step("bad values are one clear error", async () => {
      for (
        const [route, field, value] of [
          ["completions", "logprobs", 21],
          ["completions", "logprobs", -1],
          ["completions", "logprobs", true],
          ["completions", "logprobs", 1.5],
          ["completions", "echo", "yes"],
          ["completions", "max_tokens", -1],
          ["chat/completions", "top_logprobs", 21],
          ["chat/completions", "logprobs", 2],
        ] as const
      ) {
        const response = await send(route, {
          prompt: "a",
          messages: [{ role: "user", content: "a" }],
          ...(route === "chat/completions" && { logprobs: true }),
          [field]: value,
        });
        const { error } = await response.json();
        assertEquals([response.status, error.param], [400, field]);
        assert(error.message.includes(`got ${JSON.stringify(value)}`), error.message);
      }
    });
  },
});

/** How the vocabulary spells a token of text. */
function spelt(token: string): string {
  const ids = tokenizer.encode(token, { addBos: false });
  assertEquals(ids.length, 1, `${JSON.stringify(token)} is a token`);
  return tokenizer.vocab.tokens[ids[0]];
}
