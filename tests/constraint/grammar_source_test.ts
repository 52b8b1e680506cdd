import { assert, assertEquals } from "@std/assert";
import { bareGrammar } from "../../src/constraint/bare_grammar.ts";
import { grammarSource } from "../../src/constraint/grammar_source.ts";
import type { TextConstraint } from "../../src/constraint/text_constraint.ts";

Deno.test("bareGrammar leaves names and operators", () => {
  const cases: [string, string][] = [
    ["a: /\\/&/ | b", "a:  | b"],
    ['a: "open &\nb & c', "a: \nb & c"],
    ["", ""],
  ];
  for (const [grammar, bare] of cases) assertEquals(bareGrammar(grammar), bare);
  assertEquals(
    bareGrammar('start: "a&b" & /c&d/i ~ x // & e\n# &\ny: "\\"&"'),
    "start:  & i ~ x \n\ny: ",
  );
});

Deno.test("grammarSource takes long hostile texts in its stride", () => {
  const texts: TextConstraint[] = [
    { kind: "regex", pattern: "\\".repeat(126_000) + "a" },
    { kind: "regex", pattern: "\\\\".repeat(60_000) + "$" },
    { kind: "grammar", grammar: "start: " + '"\\'.repeat(60_000) },
    { kind: "grammar", grammar: "start: " + '"a\n/'.repeat(30_000) },
    { kind: "grammar", grammar: "start: " + "/\\".repeat(60_000) },
    { kind: "choice", choices: new Array(60_000).fill("a") },
  ];
  for (const constraint of texts) {
    const began = performance.now();
    grammarSource(constraint);
    const ms = performance.now() - began;
    assert(ms < 500, `${constraint.kind}: ${ms} ms`);
  }
});

Deno.test("grammarSource takes anchors off the ends of a regular expression, and nothing else", () => {
  const cases: [string, string][] = [
    ["^a$", "a"],
    ["a\\$", "a\\$"],
    ["a\\\\$", "a\\\\"],
    ["\\^a", "\\^a"],
    ["^a|b$", "^a|b$"],
    ["[^a]", "[^a]"],
  ];
  for (const [pattern, text] of cases) {
    assertEquals(grammarSource({ kind: "regex", pattern }), { kind: "regex", text });
  }
});
