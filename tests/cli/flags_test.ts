import { assertEquals, assertThrows } from "@std/assert";
import { type Flag, parseFlags } from "../../src/cli/flags.ts";
import { editDistance, nearest } from "../../src/cli/nearest.ts";
import { UsageError } from "../../src/cli/usage_error.ts";

const flags = [
  { name: "port", short: "p", kind: "number", help: "" },
  { name: "model", kind: "texts", help: "" },
  { name: "host", kind: "text", help: "" },
  { name: "insecure", kind: "switch", help: "" },
  { name: "no-install", kind: "switch", help: "" },
] as const satisfies readonly Flag[];

Deno.test("parseFlags reads every kind of flag, in both spellings", () => {
  const given = parseFlags(flags, [
    "--port=0",
    "--model",
    "a.gguf",
    "--model=b.gguf",
    "--host",
    "localhost",
    "--insecure",
    "--no-install",
    "word",
    "12",
    "--",
    "--port",
  ]);
  assertEquals(given.port, 0);
  assertEquals(given.model, ["a.gguf", "b.gguf"]);
  assertEquals(given.host, "localhost");
  assertEquals(given.insecure, true);
  assertEquals(given["no-install"], true);
  assertEquals(given.rest, ["word", "12", "--port"]);
  assertEquals(parseFlags(flags, ["-p", "81"]).port, 81);
});

Deno.test("parseFlags leaves absent flags undefined, off or empty", () => {
  const given = parseFlags(flags, []);
  assertEquals(given.port, undefined);
  assertEquals(given.host, undefined);
  assertEquals(given.model, []);
  assertEquals(given.insecure, false);
  assertEquals(given.rest, []);
});

Deno.test("parseFlags keeps words as they are written", () => {
  assertEquals(parseFlags(flags, ["007", "1e3"]).rest, ["007", "1e3"]);
});

Deno.test("parseFlags names the nearest flag of an unknown one", () => {
  const cases: [string[], string][] = [
    [["--prot", "1"], "unknown flag --prot; did you mean --port?"],
    [["--modle=x"], "unknown flag --modle; did you mean --model?"],
    [["--insec"], "did you mean --insecure?"],
    [["--xyzzy"], "unknown flag --xyzzy"],
    [["-q"], "unknown flag -q"],
  ];
  for (const [args, text] of cases) assertThrows(() => parseFlags(flags, args), UsageError, text);
});

Deno.test("parseFlags refuses missing, doubled and malformed values, with the value met", () => {
  const cases: [string[], string][] = [
    [["--port"], "--port needs a value"],
    [["--port", "--insecure"], "--port needs a value"],
    [["--port", "eighty"], '--port: expected a number, got "eighty"'],
    [["--port", "1", "--port", "2"], "--port is given 2 times"],
    [["--host", "a", "--host", "b"], "--host is given 2 times"],
  ];
  for (const [args, text] of cases) assertThrows(() => parseFlags(flags, args), UsageError, text);
  assertEquals(parseFlags(flags, ["--port=-1"]).port, -1);
});

Deno.test("editDistance counts insertions, deletions, substitutions and swaps", () => {
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("port", "prot"), 1);
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("same", "same"), 0);
});

Deno.test("nearest prefers the closest word, and none over a far one", () => {
  assertEquals(nearest("srve", ["serve", "run"]), "serve");
  assertEquals(nearest("temp", ["temperature", "top-p"]), "temperature");
  assertEquals(nearest("zzz", ["serve", "run"]), undefined);
});
