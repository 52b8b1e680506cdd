import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CapacityError, DeviceLostError } from "../../src/common/errors.ts";
import type { ToHost } from "../../src/engine/host_messages.ts";
import { HostWork } from "../../src/engine/host_work.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { GenerateRequest, Generation } from "../../src/engine/types.ts";

const request = (id: string, cacheScope?: string): GenerateRequest => ({
  id,
  prompt: { type: "parts", parts: [{ type: "text", text: "a" }] },
  sampling: greedy,
  cacheScope,
});

async function kinds(generation: Generation): Promise<string[]> {
  const seen: string[] = [];
  for await (const { type } of generation) seen.push(type);
  return seen;
}

Deno.test("HostWork takes a scope's request though another's wait in every place", async () => {
  const work = new HostWork("model", 8);
  const submit = (id: string, scope: string) => work.submit(request(id, scope));
  const taken = Array.from({ length: 8 }, (_, i) => submit(`a${i}`, "a"));
  assertThrows(() => submit("a8", "a"), CapacityError, "8 requests wait for model");
  taken.push(submit("b0", "b"), submit("b1", "b"));
  assertThrows(() => submit("b2", "b"), CapacityError, "10 requests");
  for (const one of taken) one.cancel();
  for (const one of taken) assertEquals(await kinds(one), ["finished"]);
});

Deno.test("HostWork runs a request again whose host died while its prompt was read, none of which text came", async () => {
  const work = new HostWork("model", 8);
  const sent: ToHost[] = [];
  const reading = work.submit(request("reading"));
  const writing = work.submit(request("writing"));
  work.connect((message) => sent.push(message));
  for (const id of ["reading", "writing"]) {
    work.onEvent([id, { type: "started", promptTokens: 9, cachedTokens: 0 }]);
    work.onEvent([id, { type: "reading", tokens: 4, promptTokens: 9 }]);
  }
  work.onEvent(["writing", { type: "delta", ids: [1], text: "b" }]);
  work.disconnect(new DeviceLostError("the host died"));
  assertEquals(sent.length, 2);
  work.connect((message) => sent.push(message));
  assertEquals(sent.length, 3);
  const usage = { promptTokens: 9, completionTokens: 0, cachedTokens: 0, ttftMs: 0, decodeMs: 0 };
  work.onEvent(["reading", { type: "finished", reason: "stop", usage }]);
  assertEquals(await kinds(reading), ["started", "reading", "finished"]);
  await assertRejects(() => kinds(writing), DeviceLostError, "the host died");
});
