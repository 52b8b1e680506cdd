import { assert, assertEquals, assertRejects } from "@std/assert";
import { Rng } from "../../src/common/rng.ts";
import { Engine } from "../../src/engine/engine.ts";
import { HostedEnginePool } from "../../src/engine/engine_pool.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type {
  GenerateEvent,
  GenerateRequest,
  Generation,
  ScoredToken,
} from "../../src/engine/types.ts";
import {
  FakeCodec,
  type FakeModelOptions,
  fakeVocabulary,
  openFakeModel,
} from "../support/fake_model.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";
import { expectedScores, expectedTokens } from "../support/fake_runner.ts";

const codec = new FakeCodec();
let names = 0;

function request(text: string, options: Partial<GenerateRequest> = {}): GenerateRequest {
  const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text }] };
  return { id: `r${names++}`, prompt, maxTokens: 12, sampling: greedy, logprobs: 3, ...options };
}

function openEngine(options: FakeModelOptions = {}): Promise<Engine> {
  return Engine.open(() => openFakeModel(options));
}

async function read(generation: Generation): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for await (const event of generation) events.push(event);
  return events;
}

/** What the events say of the prompt and of the answer; tokens and log probabilities go together in every event. */
function gather(events: readonly GenerateEvent[]) {
  const prompt: ScoredToken[] = [];
  const answer: ScoredToken[] = [];
  let text = "";
  for (const event of events) {
    if (event.type !== "prompt" && event.type !== "delta") continue;
    assertEquals(event.logprobs?.map(({ id }) => id), event.ids);
    (event.type === "prompt" ? prompt : answer).push(...event.logprobs!);
    text += event.text;
  }
  return { prompt, answer, text };
}

/** What a correct engine says of `ids` after their first token, `top` likeliest with each. */
function expected(ids: readonly number[], top: number) {
  return expectedScores(ids, top, fakeVocabulary).map((score) => ({
    logprob: score.logprob,
    top: score.top.map(({ id, logprob }) => ({ id, logprob })),
  }));
}

function bare(tokens: readonly ScoredToken[]) {
  return tokens.map(({ logprob, top }) => ({
    logprob,
    top: top.map(({ id, logprob }) => ({ id, logprob })),
  }));
}

Deno.test("Engine reports log probabilities of what it generates, and where each token begins", async () => {
  await using engine = await openEngine({ endText: "q" });
  for (const text of ["hello", "a stop", "no", "x", "where are we", "12"]) {
    const ids = codec.encode(text);
    const all = [...ids, ...expectedTokens(ids, 40, greedy, fakeVocabulary)];
    const { answer, text: shown } = gather(
      await read(engine.submit(request(text, { maxTokens: 40, ignoreEos: true }))),
    );
    assertEquals(answer.map(({ id }) => id), all.slice(ids.length));
    assertEquals(bare(answer), expected(all, 3).slice(ids.length - 1));
    for (const { id, token, bytes, offset, top } of answer) {
      assertEquals({ token, bytes }, codec.describe(id));
      for (const each of top) assertEquals(each.token, codec.describe(each.id).token);
      // Half a letter begins where the letter does, or what stands for it if the other half does not come.
      const here = [...shown][offset];
      const at = here === "\ufffd" && token !== "\\xc3" ? [...shown][offset + 1] : here;
      if (token.length === 1) assertEquals(at, token);
      else if (token === "\\xc3") assert(at === "é" || at === "\ufffd", `${at} at ${offset}`);
    }
  }
});

Deno.test("Engine reports nothing of the kind to who does not ask", async () => {
  await using engine = await openEngine();
  const events = await read(engine.submit(request("hello", { logprobs: undefined })));
  for (const event of events) {
    assert(event.type !== "prompt" && !("logprobs" in event) && !("end" in event));
  }
});

Deno.test("Engine echoes a prompt whole, without log probabilities if none are asked for", async () => {
  await using engine = await openEngine();
  const events = await read(engine.submit(request("abc", { logprobs: undefined, echo: true })));
  assertEquals(events.slice(0, 2), [
    { type: "started", promptTokens: 3, cachedTokens: 0 },
    { type: "prompt", ids: codec.encode("abc"), text: "abc" },
  ]);
});

Deno.test("Engine scores a prompt in the chunks in which it reads it, before what it generates", async () => {
  await using engine = await openEngine({ maxBatchTokens: 20, maxSequences: 4, pipelineDepth: 1 });
  const text = "the quick brown fox jumps over the lazy dog, and over the fence. ".repeat(2);
  for (const maxTokens of [0, 1, 9]) {
    // The second time all of it is in the cache, which does not know scores.
    for (let time = 0; time < 2; time++) {
      const events = await read(engine.submit(request(text, { maxTokens, echo: true })));
      const types = events.map(({ type }) => type);
      const chunks = types.filter((type) => type === "prompt").length;
      assert(chunks >= 7, `${chunks} chunks, time ${time}, ${maxTokens} tokens`);
      assertEquals(types.lastIndexOf("prompt") < types.indexOf("delta") || maxTokens === 0, true);
      const { prompt, answer } = gather(events);
      const ids = codec.encode(text);
      const all = [...ids, ...expectedTokens(ids, maxTokens, greedy, fakeVocabulary)];
      assertEquals(prompt.map(({ id }) => id), ids);
      assertEquals(prompt[0].logprob, null);
      assertEquals(prompt[0].top, []);
      assertEquals(bare([...prompt.slice(1), ...answer]), expected(all, 3));
      assertEquals(prompt.map(({ offset }) => offset), [...ids.keys()]);
      assertEquals(answer.slice(0, 1).map(({ offset }) => offset), maxTokens ? [ids.length] : []);
      const last = events.at(-1)!;
      assert(last.type === "finished" && last.reason === "length");
      assertEquals(last.usage.cachedTokens, 0);
    }
  }
  const [, , single] = await read(engine.submit(request("a", { echo: true, maxTokens: 0 })));
  assertEquals(single.type, "finished");
});

Deno.test("Engine gives the same scores among others, pre-empted, with and without prefixes to share", async () => {
  let preemptions = 0;
  for (let seed = 0; seed < 6; seed++) {
    const rng = new Rng(seed);
    await using engine = await openEngine({
      pagesTotal: 7,
      maxSequences: 5,
      maxBatchTokens: 40 + rng.integer(80),
      pipelineDepth: 1 + seed % 2,
    });
    const shared = "once upon a time there was a bird that sang of rain and wind and stone. "
      .repeat(2);
    const wanted = Array.from(
      { length: 16 },
      () =>
        request(
          shared.slice(0, 1 + rng.integer(shared.length)) + "abcdefgh".slice(rng.integer(8)),
          {
            logprobs: rng.integer(4) === 0 ? undefined : rng.integer(21),
            echo: rng.integer(2) === 0,
            maxTokens: rng.integer(3) === 0 ? 0 : 60 + rng.integer(100),
            criteria: rng.integer(2) === 0 ? "throughput" : "latency",
            ignoreEos: true,
            sampling: { ...greedy, temperature: rng.integer(2), seed: rng.integer(100) },
          },
        ),
    );
    const found = await Promise.all(wanted.map((each) => read(engine.submit(each))));
    preemptions += engine.load().preemptions;
    wanted.forEach(({ prompt, maxTokens, logprobs, echo, sampling }, i) => {
      assert(prompt.type === "parts");
      const ids = codec.encodeParts(prompt.parts);
      const all = [...ids, ...expectedTokens(ids, maxTokens!, sampling, fakeVocabulary)];
      if (logprobs === undefined) {
        const told = found[i].flatMap((event) => "ids" in event ? event.ids : []);
        assertEquals(told, echo ? all : all.slice(ids.length));
        return;
      }
      const { prompt: told, answer } = gather(found[i]);
      assertEquals(told.map(({ id }) => id), echo ? ids : []);
      const scores = expected(all, logprobs);
      assertEquals(bare(answer), scores.slice(ids.length - 1));
      assertEquals(bare(told.slice(1)), echo ? scores.slice(0, ids.length - 1) : []);
    });
  }
  assert(preemptions > 5, `${preemptions} pre-emptions`);
});

Deno.test("Engine names the end token, and leaves out tokens that a stop string cuts off", async () => {
  await using engine = await openEngine({ endText: "e" });
  let ended = 0;
  let stopped = 0;
  for (let i = 0; i < 40; i++) {
    const text = `prompt ${i}`;
    const ids = codec.encode(text);
    const tokens = expectedTokens(ids, 60, greedy, fakeVocabulary);
    const scores = expected([...ids, ...tokens], 3).slice(ids.length - 1);
    const events = await read(
      engine.submit(request(text, { maxTokens: 60, stop: ["an", "st", "th"] })),
    );
    const { answer, text: shown } = gather(events);
    const last = events.at(-1)!;
    assert(last.type === "finished");
    assertEquals(bare(answer), scores.slice(0, answer.length));
    if (last.end) {
      ended++;
      assertEquals(last.end.token, "e");
      assertEquals(bare([last.end]), [scores[answer.length]]);
      assertEquals(last.end.offset, [...shown].length);
    } else if (last.reason === "stop") stopped++;
    // Whatever was held back came with its tokens, and no token came before its text.
    let length = 0;
    for (const event of events) {
      if (event.type !== "delta") continue;
      length += [...event.text].length;
      for (const { offset, bytes } of event.logprobs!) {
        assert(
          offset + (bytes!.length > 1 ? bytes!.length : 0) <= length,
          `${offset} of ${length}`,
        );
      }
    }
  }
  assert(ended > 0 && stopped > 0, `${ended} ended by a token, ${stopped} by a string`);
});

Deno.test("Engine refuses a number of likeliest tokens that is none", async () => {
  await using engine = await openEngine();
  for (const logprobs of [-1, 21, 0.5, NaN]) {
    const message = `logprobs is ${logprobs}, expected an integer in [0, 20]`;
    await assertRejects(() => read(engine.submit(request("a", { logprobs }))), TypeError, message);
  }
});

for (const carrier of ["process", "worker"] as const) {
  Deno.test(`a ${carrier} host carries log probabilities and echoes; a slow reader loses none`, async () => {
    await using pool = new HostedEnginePool({
      models: [{ id: "fake", model: {}, module: fakeModelModule }],
      carrier,
    });
    await pool.models();
    await using engine = await openEngine();
    const asked = { echo: true, maxTokens: 30, logprobs: 20 };
    const slow = pool.submit(request("over there", asked));
    await read(pool.submit(request("another", asked)));
    const here = gather(await read(engine.submit(request("over there", asked))));
    assertEquals(gather(await read(slow)), here);
    assertEquals(here.prompt.length + here.answer.length, 40);
  });
}
