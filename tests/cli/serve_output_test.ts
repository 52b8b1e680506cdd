import { assertEquals } from "@std/assert";
import { log } from "../../src/common/log.ts";
import { OutputClosed } from "../../src/cli/output_closed.ts";
import { until } from "../support/until.ts";
import { cli } from "./support.ts";

const model = new URL("../golden/models/tiny_llama_f32.gguf", import.meta.url).pathname;

for (const error of [new OutputClosed(), new Error("No space left on device (os error 28)")]) {
  Deno.test(`sparrow serve serves on, and drains, when its output cannot be written: ${error}`, async () => {
    let url = "";
    const serving = cli(["serve", "--port", "0", "--parrot-port", "0", "--model", model], {
      fake: { reply: () => "some words", tokenDelayMs: 20 },
      onOut: (text) => {
        url ||= JSON.parse(text).url;
        throw error;
      },
    });
    await until(async () => {
      if (url === "") return false;
      const ready = await fetch(`${url}/ready`);
      await ready.body?.cancel();
      return ready.ok;
    }, "the server is ready");
    const answer = fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "x" }),
    });
    await until(async () => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return /sparrow_requests_running.* 1$/m.test(metrics);
    }, "the generation runs");
    Deno.kill(Deno.pid, "SIGTERM");
    assertEquals((await (await answer).json()).choices[0].text, "some words");
    assertEquals((await serving).code, 0);
  });
}

Deno.test("a log line that cannot be written is lost, and nothing else", () => {
  const print = console.error;
  let tried = 0;
  console.error = () => {
    tried++;
    throw new Error("No space left on device (os error 28)");
  };
  try {
    log("error", "a request failed");
  } finally {
    console.error = print;
  }
  assertEquals(tried, 1);
});

Deno.test({
  name: "logWithoutWaiting: a pipe that nobody reads loses lines, and holds up nothing",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const module = import.meta.resolve("../../src/common/log.ts");
    const program = `import { log, logWithoutWaiting } from ${JSON.stringify(module)};
      logWithoutWaiting();
      for (let i = 0; i < 5000; i++) log("error", "a request failed", { i });
      console.log("went on");`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", program],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    // Read once the process has ended.
    assertEquals(await new Response(child.stdout).text(), "went on\n");
    clearTimeout(timer);
    await child.status;
    const lines = (await new Response(child.stderr).text()).trimEnd().split("\n");
    assertEquals(lines.slice(0, 100).map((line) => JSON.parse(line).i), [...Array(100).keys()]);
  },
});
