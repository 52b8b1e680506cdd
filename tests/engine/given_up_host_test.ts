import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DeviceLostError } from "../../src/common/errors.ts";
import type { FromHost } from "../../src/engine/host_messages.ts";
import { SupervisedHost } from "../../src/engine/supervised_host.ts";
import type { EngineLoad, ModelInfo } from "../../src/engine/types.ts";
import { until } from "../support/until.ts";

const opened = {
  type: "opened",
  info: { id: "m" } as ModelInfo,
  load: { model: "m", state: "ready" } as EngineLoad,
} as const;

/** A host that is opened once, and then does `next` at each start; resolves to what is logged until it has failed for good. */
async function logOf(next: (send: (message: FromHost) => void, die: () => void) => void) {
  const lines: string[] = [];
  const print = console.error;
  console.error = (...words) => lines.push(words.join(" "));
  try {
    let starts = 0;
    let dieFirst = () => {};
    const start = (send: (message: FromHost) => void) => {
      const { promise: gone, resolve } = Promise.withResolvers<string>();
      const die = () => resolve("exit code 1");
      if (starts++ > 0) queueMicrotask(() => next(send, die));
      else {
        dieFirst = die;
        queueMicrotask(() => send(opened));
      }
      return { gone, send: () => {}, kill: die };
    };
    const options = { maxFailedStarts: 2, restartDelaysMs: [0] };
    await using host = new SupervisedHost("m", { model: "m" }, start, options);
    await host.ready;
    dieFirst();
    await until(() => host.load().state === "failed", "the host has failed");
    const question = { method: "tokenize", text: "x", options: {} } as const;
    await assertRejects(() => host.ask(question), DeviceLostError, "the engine of m ");
  } finally {
    console.error = print;
  }
  return lines.filter((line) => line.includes('"error"') || line.startsWith("error"));
}

Deno.test("a host that was open and is given up says so in the log, once, and to requests", async () => {
  const dies = await logOf((_send, die) => die());
  assertEquals(dies.length, 3);
  assertStringIncludes(dies[2], "model m is served no more: ");
  assertStringIncludes(dies[2], "ended 2 times while it started (exit code 1)");

  const error = { name: "NotFound", message: "m.gguf: no such file" };
  const gone = await logOf((send) => send({ type: "failed", error }));
  assertEquals(gone.length, 2);
  assertStringIncludes(gone[1], "m.gguf: no such file");
});
