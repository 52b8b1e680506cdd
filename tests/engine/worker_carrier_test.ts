import { assertEquals, assertLess } from "@std/assert";
import type { FromHost } from "../../src/engine/host_messages.ts";
import { WorkerCarrier } from "../../src/engine/worker_carrier.ts";
import { threadEnd } from "../../src/engine/worker_thread.ts";
import { fakeModelModule } from "../support/fake_model_module.ts";

/** The numbers of this process's threads that run Workers: Deno calls those by the numbers of their Workers. */
function workerThreads(): Set<string> {
  const ids = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name);
  return new Set(ids.filter((id) => {
    try {
      return /^worker-\d/.test(Deno.readTextFileSync(`/proc/self/task/${id}/comm`));
    } catch {
      return false;
    }
  }));
}

for (const end of ["close", "kill"] as const) {
  Deno.test({
    name: `WorkerCarrier is gone when its thread has ended, after ${end}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      // Several: a thread ends some milliseconds after its isolate, now and then before anybody looks.
      for (let round = 0; round < 4; round++) {
        const before = workerThreads();
        let opened: (message: FromHost) => void = () => {};
        const first = new Promise<FromHost>((resolve) => opened = resolve);
        const carrier = new WorkerCarrier((message) => opened(message));
        carrier.send({ type: "open", spec: { model: {}, module: fakeModelModule } });
        assertEquals((await first).type, "opened");
        const during = [...workerThreads()].filter((id) => !before.has(id));
        assertEquals(during.length, 1);
        if (end === "close") carrier.send({ type: "close" });
        else carrier.kill();
        assertEquals(await carrier.gone, "terminated");
        assertEquals(workerThreads().has(during[0]), false);
      }
    },
  });
}

// Without all permissions a thread is not watched but given a fixed time. The test runner counts timers that are left.
Deno.test("WorkerCarrier that is killed twice does nothing more when it is gone", {
  permissions: { read: true },
}, async () => {
  let said: () => void = () => {};
  const first = new Promise<void>((resolve) => said = resolve);
  const carrier = new WorkerCarrier(() => said());
  carrier.send({ type: "open", spec: { model: {}, module: fakeModelModule } });
  await first;
  carrier.kill();
  await new Promise((resolve) => setTimeout(resolve, 50));
  carrier.kill();
  await carrier.gone;
});

Deno.test("threadEnd waits for a thread that goes on no longer than it is told to", async () => {
  const start = performance.now();
  await threadEnd(String(Deno.pid), 30);
  await threadEnd(undefined, 30);
  assertLess(performance.now() - start, 2000);
});
