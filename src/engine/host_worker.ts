/** Entry of a host Worker: one message per message. @module */
import { workerScope } from "../common/worker_scope.ts";
import { EngineHost } from "./host.ts";
import type { ToHost } from "./host_messages.ts";

const scope = workerScope();

function end(): void {
  scope.postMessage({ type: "closed" });
  scope.close();
}

const host = new EngineHost((message) => scope.postMessage(message), end);

scope.onmessage = async ({ data }: MessageEvent<ToHost>) => {
  if (data.type !== "close") return host.handle(data);
  await host.close();
  end();
};
