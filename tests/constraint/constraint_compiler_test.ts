import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { Rng } from "../../src/common/rng.ts";
import type { ConstrainedText } from "../../src/constraint/constrained_text.ts";
import type { ConstraintCompiler } from "../../src/constraint/constraint_compiler.ts";
import type { TextConstraint } from "../../src/constraint/text_constraint.ts";
import { conforms } from "../oracle/json_schema.ts";
import { needsNative } from "../support/needs_native.ts";
import { withCompiler } from "../support/with_compiler.ts";

const encoder = new TextEncoder();
/** Every byte, some words, and a control token that ends a text. */
const words = [
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...["ab", "aé", ".com", "12", "yes", "no", " "].map((word) => encoder.encode(word)),
  new Uint8Array(0),
];
const END = words.length - 1;

const compiler = (use: (compiler: ConstraintCompiler) => Promise<void>) => withCompiler(words, use);

function allowed(text: ConstrainedText): number[] {
  const mask = new Uint32Array(Math.ceil(words.length / 32) + 1).fill(~0);
  text.mask(mask);
  assertEquals(mask.at(-1), 0, "past the vocabulary");
  return words.flatMap((_, id) => mask[id >> 5] >>> (id & 31) & 1 ? [id] : []);
}

/** A random walk to a whole text; undefined where none was reached in `most` tokens. */
function walk(text: ConstrainedText, rng: Rng, most = 60): string | undefined {
  const bytes: number[] = [];
  for (let i = 0; i < most; i++) {
    const ids = allowed(text);
    assert(ids.length > 0 && !text.failure, "nothing may follow");
    const id = ids[rng.integer(ids.length)];
    if (id === END) return decode(bytes);
    bytes.push(...words[id]);
    if (text.accept(id)) return decode(bytes);
  }
  return undefined;
}

function decode(bytes: number[]): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}

Deno.test("ConstraintCompiler: names of properties and sets of values are kept", async (t) => {
  if (!needsNative(t)) return;
  const yes = { const: "yes" };
  const schemas = [
    { additionalProperties: yes, propertyNames: { enum: ["ab", "no"] }, required: ["no"] },
    { additionalProperties: yes, propertyNames: { pattern: "^[ab]{1,2}$" } },
    { additionalProperties: yes, propertyNames: { minLength: 2, maxLength: 3 } },
  ].map((schema) => ({ type: "object", ...schema }));
  const set = { type: "array", uniqueItems: true };
  const sets = [
    { ...set, items: { enum: ["ab", "yes", 12, null, "no", true] } },
    { ...set, items: { enum: ["ab", "yes", "no"] }, minItems: 3 },
  ];
  await compiler(async (compiler) => {
    const rng = new Rng(11);
    for (const schema of [...schemas, ...sets]) {
      const found = new Set<string>();
      for (let i = 0; i < 30; i++) {
        using text = await compiler.start({ kind: "json_schema", schema });
        const one = walk(text, rng);
        if (one === undefined) continue;
        found.add(JSON.stringify(JSON.parse(one)));
        assert(conforms(schema, JSON.parse(one)), `${JSON.stringify(schema)}: ${one}`);
      }
      assert(found.size > 1, `${JSON.stringify(schema)}: ${[...found].join(" ")}`);
    }
  });
});

Deno.test("ConstraintCompiler: random walks match the regular expression or are a choice", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const rng = new Rng(5);
    const regexes = [
      "(ab|aé)+\\.com",
      "^\\d{2,3}$",
      "^ab\\\\$",
      "no\\$",
      "\\^(yes)$",
      "[^a-z\\n]{3}",
      "\\w+@\\w\\.(com|no)",
      "(yes|no)? *12/\"'",
      "a|b|^ab$",
      "\\$\\\\$",
      "[é-ü😀-😅]{1,4}",
    ];
    let whole = 0;
    for (const pattern of regexes) {
      for (let i = 0; i < 12; i++) {
        using text = await compiler.start({ kind: "regex", pattern });
        const found = walk(text, rng);
        if (found === undefined) continue;
        whole++;
        assert(new RegExp(`^(?:${pattern})$`, "u").test(found), `${pattern}: ${found}`);
      }
    }
    assert(whole > 60, `${whole} whole texts`);
    const choices = ["yes", "no.", "(a|b)*", "no", "é😀", "\\d", "a-b/c#&~<>\n"];
    const seen = new Set<string>();
    for (let i = 0; i < 120; i++) {
      using text = await compiler.start({ kind: "choice", choices });
      seen.add(walk(text, rng)!);
    }
    assertEquals([...seen].sort(), [...choices].sort());
  });
});

Deno.test("ConstraintCompiler: end and stop tokens are allowed exactly where a text may end", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const a = 97, b = 98;
    using text = await compiler.start({ kind: "regex", pattern: "a+b?" }, [b, END, 9999, 32]);
    assertEquals(allowed(text), [a, 256]);
    assertEquals(text.accept(a), false);
    // A stop token that might also go on, one that could not, and the end.
    assertEquals(allowed(text), [32, a, b, 256, END]);
    using other = await compiler.start({ kind: "regex", pattern: "a+b?" });
    other.accept(a);
    assertEquals(other.accept(b), true, "nothing may be added");
    assertEquals(allowed(other), [END]);
  });
});

Deno.test("ConstraintCompiler: equal constraints are compiled once, also side by side, and stay apart", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const constraint: TextConstraint = { kind: "regex", pattern: "abab" };
    const pending = [1, 2, 3].map(() => compiler.start(constraint));
    assert(pending.every((text) => text instanceof Promise));
    const [one, two, three] = await Promise.all(pending);
    one.accept(97);
    assertEquals(allowed(one), [98]);
    assertEquals(allowed(two), [97, 256]);
    const again = compiler.start(constraint);
    assert(!(again instanceof Promise), "compiled already");
    assertEquals(allowed(again), [97, 256]);
    // Many others push it out; what began goes on.
    for (let i = 0; i < 70; i++) {
      using _ = await compiler.start({ kind: "choice", choices: [`a${i}`] });
    }
    const third = compiler.start(constraint);
    assert(third instanceof Promise, "was forgotten");
    assertEquals(allowed(two), [97, 256]);
    for (const text of [one, two, three, again, await third]) text[Symbol.dispose]();
  });
});

Deno.test("ConstraintCompiler: what nobody wants any longer is not compiled, what somebody wants is", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const leaving = [new AbortController(), new AbortController(), new AbortController()];
    const shared: TextConstraint = { kind: "choice", choices: ["shared"] };
    const alone: TextConstraint = { kind: "choice", choices: ["alone"] };
    const first = compiler.start({ kind: "regex", pattern: "a" });
    const kept = compiler.start(shared);
    const lost = compiler.start(shared, [], leaving[0].signal);
    const unwanted = compiler.start(alone, [], leaving[1].signal);
    leaving[0].abort();
    leaving[1].abort();
    await assertRejects(async () => await unwanted, ConstraintError);
    for (const text of [first, kept, lost]) (await text)[Symbol.dispose]();
    assert(!(compiler.start(shared) instanceof Promise), "was compiled");
    const again = compiler.start(alone);
    assert(again instanceof Promise, "was not");
    // Wanted anew while the other is on its way out.
    const other: TextConstraint = { kind: "choice", choices: ["other"] };
    const out = compiler.start(other, [], leaving[2].signal);
    leaving[2].abort();
    const anew = compiler.start(other);
    await assertRejects(async () => await out, ConstraintError);
    (await again)[Symbol.dispose]();
    (await anew)[Symbol.dispose]();
  });
});

Deno.test("ConstraintCompiler: a text that breaks its constraint fails and allows nothing more", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    using text = await compiler.start({ kind: "choice", choices: ["yes"] });
    assertEquals(text.accept(98), false);
    assert(text.failure instanceof ConstraintError);
    const again = compiler.start({ kind: "choice", choices: ["yes"] });
    assert(again instanceof Promise, "its grammar is compiled anew");
    assertEquals(allowed(await again), [121, 260]);
    (await again)[Symbol.dispose]();
    assertEquals(allowed(text), []);
    assertEquals(text.accept(121), false);
  });
});

Deno.test("ConstraintCompiler refuses what is no constraint, in one sentence, and goes on", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const refused: [unknown, string][] = [
      [undefined, "expected a kind of"],
      [{ kind: "json" }, "expected a kind of"],
      [{ kind: "regex", pattern: "" }, "regex: expected a string"],
      [{ kind: "regex", pattern: "\ud800" }, "lone surrogates"],
      [{ kind: "regex", pattern: "a\\" }, "backslash"],
      [{ kind: "choice", choices: [] }, "choice"],
      [{ kind: "choice", choices: ["a", 1] }, "choice"],
      [{ kind: "grammar", grammar: "x".repeat(200_000) }, "at most 131072"],
      [
        { kind: "grammar", grammar: "start: /a/ " + "& /.*b/ ".repeat(9) },
        "grammar: 9 times & or ~",
      ],
      [{ kind: "grammar", grammar: "start: a\na: %json { }" }, "%json is not supported"],
      [{ kind: "json_schema", schema: { $ref: "#" } }, "endless"],
      [{ kind: "json_schema", schema: { contains: {} } }, 'keyword "contains" at #'],
    ];
    for (const [constraint, text] of refused) {
      assertThrows(() => compiler.start(constraint as TextConstraint), ConstraintError, text);
    }
    const deep = (open: string, close: string) => open.repeat(20_000) + "a" + close.repeat(20_000);
    const failing: [TextConstraint, string][] = [
      [{ kind: "regex", pattern: "(a" }, "unclosed group"],
      [{ kind: "regex", pattern: "a(?=b)" }, "look-around"],
      [{ kind: "regex", pattern: "(a)\\1" }, "regular expression"],
      [{ kind: "regex", pattern: deep("(", ")") }, "regular expression"],
      [{ kind: "grammar", grammar: "start: other" }, "unknown name"],
      [{ kind: "grammar", grammar: "start: " + deep("(", ")") }, "too deeply nested"],
      [{ kind: "json_schema", schema: { type: "string", enum: [1] } }, "JSON schema"],
      [{ kind: "json_schema", schema: false }, "JSON schema"],
      [{ kind: "json_schema", schema: { type: "integer", minimum: 3, maximum: 2 } }, "JSON schema"],
      [
        { kind: "json_schema", schema: { oneOf: [{ type: "integer" }, { type: "number" }] } },
        "exclude each other",
      ],
    ];
    await Promise.all(
      failing.map(([constraint, text]) =>
        assertRejects(async () => await compiler.start(constraint), ConstraintError, text)
      ),
    );
    // What only looks like it.
    using _ = await compiler.start({
      kind: "grammar",
      grammar: 'start: "&&&&&&&~%json" /&{9}\\// // &&&&&&',
    });
    using text = await compiler.start({ kind: "json_object" });
    assertEquals(allowed(text), ["{".charCodeAt(0)]);
  });
});

Deno.test("ConstraintCompiler: references with escapes lead where they mean", async (t) => {
  if (!needsNative(t)) return;
  await compiler(async (compiler) => {
    const $defs = {
      "a/b": { const: "slash" },
      "a~b": { const: "tilde" },
      "a b": { const: "blank" },
    };
    for (
      const [part, expected] of [
        ["a~1b", "slash"],
        ["a%2Fb", "slash"],
        ["a~0b", "tilde"],
        ["a%20b", "blank"],
      ]
    ) {
      const schema = { $ref: `#/$defs/${part}`, $defs };
      const text = await compiler.start({ kind: "json_schema", schema });
      assertEquals(walk(text, new Rng(1)), JSON.stringify(expected));
      text[Symbol.dispose]();
    }
  });
});
