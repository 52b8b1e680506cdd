/**
 * Entry of a host process: frames on standard input and output, log lines on standard error. The process ends when
 * its input does, so it never outlives the one that started it.
 * @module
 */
// deno-lint-ignore no-external-import -- Deno has no other way to set a priority
import { setPriority } from "node:os";
import { EngineHost } from "./host.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";
import type { FromHost, ToHost } from "./host_messages.ts";

// A software adapter takes every core; the server must still get its turn. Measured there on 2 cores, both loaded,
// 4 prompts of 2,300 tokens each way: the 99th percentile of the server's event loop gaps falls from 8-12 ms to 6-8.
setPriority(5);

// Whatever a library prints must not end up among the frames.
console.log = console.info = console.debug = console.error;

function send(message: FromHost): void {
  const frame = encodeFrame(message);
  try {
    // Synchronous: an asynchronous write would wait for the next step to end.
    for (let at = 0; at < frame.length;) at += Deno.stdout.writeSync(frame.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}

// A terminal and a service manager signal every process of a group: the server lets its requests end first, for which it needs this
// process, and then closes its input.
if (Deno.build.os !== "windows") {
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => {});
}

const host = new EngineHost(send, () => Deno.exit(1));
const frames = new FrameDecoder();

read: for await (const chunk of Deno.stdin.readable) {
  for (const value of frames.push(chunk)) {
    const message = value as ToHost;
    if (message.type === "close") break read;
    host.handle(message);
  }
}
await host.close();
Deno.exit(0);
