import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { Engine } from "../../src/engine/engine.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { GenerateRequest, TextConstraint } from "../../src/engine/types.ts";
import { type FakeModelOptions, openFakeModel } from "../support/fake_model.ts";
import { needsNative } from "../support/needs_native.ts";

let names = 0;

function request(text: string, options: Partial<GenerateRequest> = {}): GenerateRequest {
  const prompt = { type: "parts" as const, parts: [{ type: "text" as const, text }] };
  return { id: `c${names++}`, prompt, maxTokens: 60, sampling: greedy, ...options };
}

async function read(engine: Engine, request: GenerateRequest): Promise<string> {
  let text = "";
  for await (const event of engine.submit(request)) {
    if (event.type === "delta") text += event.text;
    if (event.type === "finished") text += ` ${event.reason}`;
  }
  return text;
}

const openEngine = (options: FakeModelOptions = {}) => Engine.open(() => openFakeModel(options));

Deno.test("Engine keeps constraints with steps in flight and few pages, in any company", async (t) => {
  if (!needsNative(t)) return;
  // More requests than rows and pages: sequences wait, are pre-empted, and come back.
  await using crowded = await openEngine({ pagesTotal: 7, maxSequences: 5, maxBatchTokens: 80 });
  await using roomy = await openEngine({ pipelineDepth: 1 });
  const constraints: (TextConstraint | undefined)[] = [
    { kind: "regex", pattern: "([a-f]{3}é?){20,30}\\." },
    undefined,
    { kind: "choice", choices: ["stop and go", "stop", "sto"] },
    { kind: "regex", pattern: "(the|and)[0-9]{60,}" },
  ];
  const requests = Array.from({ length: 24 }, (_, i) => {
    const sampling = { ...greedy, temperature: i % 3, seed: i };
    const options = { constraint: constraints[i % 4], maxTokens: 90 + i, sampling };
    return request("some prompt ".repeat(1 + i % 5) + i, options);
  });
  const together = await Promise.all(requests.map((one) => read(crowded, one)));
  assert(crowded.load().preemptions > 0);
  for (const [i, one] of requests.entries()) {
    assertEquals(together[i], await read(roomy, { ...one, id: `alone${i}` }));
    const forms = [
      /^(([a-f]{3}é?){20,30}\. stop|([a-f]{3}é?)*[a-f]{0,2} length)$/,
      / length$/,
      /^(stop and go|stop|sto) stop$/,
      /^(the|and)[0-9]{60,} length$/,
    ];
    assert(forms[i % 4].test(together[i]), together[i]);
  }
});

Deno.test("Engine ends a text that is complete, also without end tokens, and one with them where it may", async (t) => {
  if (!needsNative(t)) return;
  const constraint: TextConstraint = { kind: "regex", pattern: "[a-z]{4}" };
  await using endless = await openEngine();
  assert(/^[a-z]{4} stop$/.test(await read(endless, request("x", { constraint }))));
  await using ending = await openEngine({ endText: "q" });
  for (let seed = 0; seed < 20; seed++) {
    const sampling = { ...greedy, temperature: 1, seed };
    const text = await read(ending, request("x", { constraint, sampling }));
    // The end token stands for nothing, so no text has its letter.
    assert(/^[a-pr-z]{4} stop$/.test(text), text);
  }
});

Deno.test("Engine fails a request alone whose text cannot go on, and cancels those that wait for a grammar when it closes", async (t) => {
  if (!needsNative(t)) return;
  const engine = await openEngine();
  const other = read(engine, request("other"));
  // The fake vocabulary has no capital letters.
  const constraint: TextConstraint = { kind: "regex", pattern: "[a-z]{3}ABC" };
  await assertRejects(
    () => read(engine, request("x", { constraint })),
    ConstraintError,
    "tokens matches",
  );
  assert((await other).endsWith("length"));
  const waiting = read(engine, request("y", { constraint: { kind: "choice", choices: ["late"] } }));
  await engine[Symbol.asyncDispose]();
  assertEquals(await waiting, " cancelled");
});
