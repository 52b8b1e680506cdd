/** Entry of a host Worker: one message per message. @module */
/// <reference lib="webworker" />
import { EngineHost } from "./host.ts";
import type { ToHost } from "./host_messages.ts";

declare const self: DedicatedWorkerGlobalScope;

function end(): void {
  self.postMessage({ type: "closed" });
  self.close();
}

const host = new EngineHost((message) => self.postMessage(message), end);

self.onmessage = async ({ data }: MessageEvent<ToHost>) => {
  if (data.type !== "close") return host.handle(data);
  await host.close();
  end();
};
