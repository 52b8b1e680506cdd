/** Entry of a host Worker: one message per message. @module */
import { workerScope } from "../common/worker_scope.ts";
import { EngineHost } from "./host.ts";
import type { ToHost } from "./host_messages.ts";
import type { FromHostWorker } from "./worker_carrier.ts";
import { threadId } from "./worker_thread.ts";

const scope = workerScope();

function say(message: FromHostWorker): void {
  scope.postMessage(message);
}

function end(): void {
  say({ type: "closed" });
  scope.close();
}

say({ type: "thread", id: threadId() });
const host = new EngineHost(say, end);

scope.onmessage = async ({ data }: MessageEvent<ToHost>) => {
  if (data.type !== "close") return host.handle(data);
  await host.close();
  end();
};
