import { assertEquals } from "@std/assert";
import { Reporter } from "../../src/cli/reporter.ts";
import { readLines } from "../../src/cli/read_lines.ts";

function reporter(isInteractive: boolean): { report: Reporter; written: () => string } {
  let text = "";
  return {
    report: new Reporter({ write: (more) => void (text += more), isInteractive }),
    written: () => text,
  };
}

Deno.test("Reporter writes one JSON line an event off a terminal", () => {
  const { report, written } = reporter(false);
  report.event("ready", "Ready in 1 s", { ms: 1000 });
  for (let i = 0; i <= 100; i++) report.progress("load", i, 100, "MiB");
  const lines = written().trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(lines[0], { event: "ready", ms: 1000 });
  assertEquals(lines.slice(1).map((line) => line.done), [
    0,
    10,
    20,
    30,
    40,
    50,
    60,
    70,
    80,
    90,
    100,
  ]);
});

Deno.test("Reporter draws a bar on a terminal, and clears it for text", () => {
  const { report, written } = reporter(true);
  report.progress("load", 1, 2, "MiB");
  report.event("note", "Half way");
  report.progress("load", 2, 2, "MiB");
  const bar = `load ${"█".repeat(14)}${"░".repeat(14)} 50 % (1/2 MiB)`;
  const full = `load ${"█".repeat(28)} 100 % (2/2 MiB)\n`;
  assertEquals(written(), `${bar}\r\x1b[2KHalf way\n${full}`);
});

Deno.test("readLines splits across chunks, code points and line ends", async () => {
  const bytes = new TextEncoder().encode("één\r\ntwo\n\nlast");
  const stream = ReadableStream.from([bytes.slice(0, 1), bytes.slice(1, 5), bytes.slice(5)]);
  const lines = await Array.fromAsync(readLines(stream, new AbortController().signal));
  assertEquals(lines, ["één", "two", "", "last"]);
});

Deno.test("readLines ends when the signal fires", async () => {
  const stop = new AbortController();
  const stream = new ReadableStream<Uint8Array>();
  const lines = Array.fromAsync(readLines(stream, stop.signal));
  stop.abort();
  assertEquals(await lines, []);
});
