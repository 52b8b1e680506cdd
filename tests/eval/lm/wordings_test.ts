import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Rng } from "../../../src/common/rng.ts";
import { expand, reachable } from "../../../scripts/eval/lm/grammar.ts";
import { Lexicon } from "../../../scripts/eval/lm/lexicon.ts";
import { both, compose, type Marked, wordings } from "../../../scripts/eval/lm/wordings.ts";

/** The rules that training composes each text of a family's held-out forms from. */
const starts = {
  facts: ["fact_any", "fact_question_any"],
  multiValue: ["multi_value_question_any"],
  multiQuery: ["multi_query_question_any"],
  variables: ["assignment_any", "assignment_any", "chain_question_any"],
  passkeys: ["passkey_any", "passkey_question_any"],
  commonWords: ["common_question"],
  frequentWords: ["frequent_question"],
  keyValue: ["key_value_question"],
};

/** Whether `marker` stands in `text` as a word of its own. */
function holds(text: string, marker: string): boolean {
  const literal = marker.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(?<![a-z])${literal}(?![a-z])`, "i").test(text);
}

/** All texts that `rule` is made of, `lead` included: it may stand before any. */
function pieces(rule: string): string[] {
  return [...reachable(wordings.rules, rule), "lead"].flatMap((name) =>
    (wordings.rules[name] ?? []).map((each) => typeof each === "string" ? each : each[1])
  );
}

function assertUnwritable(form: Marked[], texts: string[][]) {
  assertEquals(form.length, texts.length);
  form.forEach(([text, marker], index) => {
    assert(holds(text, marker), `"${marker}" is not a word of "${text}"`);
    const piece = texts[index].find((each) => holds(each, marker));
    assertEquals(piece, undefined, `"${marker}" of "${text}" can be written`);
  });
}

for (const [family, rules] of Object.entries(starts)) {
  Deno.test(`no held-out form of ${family} can be composed: each has a word that no rule writes`, () => {
    const texts = rules.map(pieces);
    for (const form of wordings.heldOut[family as keyof typeof starts]) {
      assertUnwritable(form, texts);
    }
  });
}

Deno.test("no held-out form of a relation can be composed", () => {
  const frame = pieces("relation_frame");
  for (const relation of Object.values(wordings.relations)) {
    const clauses = relation.forms.map(([clause]) => clause);
    const questions = [...relation.forms.map(([, question]) => question), ...relation.questions];
    for (const form of relation.heldOut) {
      assertUnwritable(form, [[...clauses, ...frame], questions]);
    }
  }
});

Deno.test("no rule of random frames writes a word that tells a held-out form", () => {
  const markers = [
    ...Object.values(wordings.heldOut),
    ...Object.values(wordings.relations).map((each) => each.heldOut),
  ].flat(2).map(([, marker]) => marker);
  const echoes = Object.keys(wordings.rules).filter((rule) => rule.startsWith("echo_"));
  assert(echoes.length > 10 && markers.length > 40);
  for (const rule of echoes) {
    const texts = pieces(rule);
    for (const marker of markers) {
      assertEquals(texts.find((each) => holds(each, marker)), undefined, `"${marker}" by ${rule}`);
    }
  }
});

Deno.test("a frame states key, noun and value once, and its questions ask for a key's noun", () => {
  const texts = (rule: string) =>
    wordings.rules[rule].map((each) => typeof each === "string" ? each : each[1]);
  const count = (text: string, part: RegExp) => text.match(part)?.length ?? 0;
  const key = /\{k\}|(?<![A-Za-z])K(?![A-Za-z])/g, noun = /\{n\}|(?<![A-Za-z])N(?![A-Za-z])/g;
  for (
    const [rules, expected] of [
      [["echo_statement"], [1, 1, 1]],
      [["echo_question"], [1, 1, 0]],
      [["echo_key"], [1, 0, 0]],
      [["echo_noun"], [0, 1, 0]],
      [["echo_passkey"], [0, 0, 1]],
      [["echo_passkey_question", "echo_phrase", "echo_link", "echo_copula", "echo_ask"], [0, 0, 0]],
    ] as const
  ) {
    for (const text of rules.flatMap(texts)) {
      const found = [count(text, key), count(text, noun), count(text, /\{v\}/g)];
      assertEquals(found, [...expected], text);
    }
  }
});

Deno.test("a frame of a chain names its variable and what it is set from once, and its questions the number alone", () => {
  const texts = (rule: string) =>
    wordings.rules[rule].map((each) => typeof each === "string" ? each : each[1]);
  const count = (text: string, part: RegExp) => text.match(part)?.length ?? 0;
  const variable = /\{x\}|(?<![A-Za-z])X(?![A-Za-z])/g, origin = /(?<![A-Za-z])O(?![A-Za-z])/g;
  for (const text of texts("echo_assignment")) {
    assertEquals([count(text, variable), count(text, origin), count(text, /\{[kvny]\}/g)], [
      1,
      1,
      0,
    ], text);
  }
  for (const text of texts("echo_target")) {
    assertEquals(count(text, /\{[a-z]\}/g), count(text, /\{x\}/g), text);
  }
  for (const text of texts("echo_origin")) {
    const [set, copied] = both(text);
    assertEquals([count(set, /\{v\}/g), count(copied, /\{v\}/g)], [1, 0], text);
    assertEquals([count(set, /\{y\}/g), count(copied, /\{y\}/g)], [0, 1], text);
  }
  for (const text of texts("echo_chain_question")) {
    assertEquals(
      [count(text, /\{v\}/g), count(text, /\{[kxyn]\}|(?<![A-Za-z])[XONK](?![A-Za-z])/g)],
      [1, 0],
      text,
    );
  }
});

Deno.test("held-out forms keep keys and values after a space, as composed ones do", () => {
  const loose = /(?<! )\{[kvxy]\}/;
  for (const forms of Object.values(wordings.heldOut)) {
    for (const [text] of forms.flat()) {
      if (!/^\{k\} came|"\{k\}"/.test(text)) assert(!loose.test(text), text);
    }
  }
  for (
    const rule of [
      "fact_any",
      "assignment_any",
      "fact_question_any",
      "chain_question_any",
      "passkey",
    ]
  ) {
    const lexicon = new Lexicon(new Rng(3));
    for (let i = 0; i < 3000; i++) {
      for (const text of both(compose(rule, lexicon))) {
        assert(!loose.test(text), `${rule}: ${text}`);
        assert(!/<[a-z_]+>|\[\[|\]\]/.test(text.replace("[[ ", "[ ")), `${rule}: ${text}`);
      }
    }
  }
});

Deno.test("a fact's statement holds its key, noun and value once", () => {
  const lexicon = new Lexicon(new Rng(5));
  const different = new Set<string>();
  for (let i = 0; i < 3000; i++) {
    const text = compose("fact_any", lexicon);
    different.add(text);
    for (const place of ["{k}", "{n}", "{v}"]) {
      assertEquals(text.split(place).length, 2, `${place} in "${text}"`);
    }
  }
  assert(different.size > 1400, `${different.size} different statements of 3000`);
});

Deno.test("an assignment's two texts differ in the value alone", () => {
  const lexicon = new Lexicon(new Rng(6));
  for (let i = 0; i < 1000; i++) {
    const [first, copy] = both(compose("assignment_any", lexicon));
    assertMatch(first, /\{v\}/);
    assertMatch(copy, /\{y\}/);
    assert(!first.includes("{y}") && !copy.includes("{v}"), `${first} / ${copy}`);
    for (const text of [first, copy]) assertEquals(text.split("{x}").length, 2, text);
  }
});

Deno.test("expand draws by weight and names a rule that is missing", () => {
  const rules = { a: [[3, "x<b>"], "y"], b: ["1", "2"], c: ["<d>"] } as const;
  const rng = new Rng(1);
  const counts: Record<string, number> = {};
  for (let i = 0; i < 4000; i++) {
    const text = expand(structuredClone(rules) as never, "a", rng, () => "");
    counts[text] = (counts[text] ?? 0) + 1;
  }
  for (const [text, wanted] of [["x1", 1500], ["x2", 1500], ["y", 1000]] as const) {
    assert(Math.abs(counts[text] - wanted) < 150, `${text}: ${counts[text]} of 4000`);
  }
  assertThrows(() => expand(rules as never, "c", rng, () => ""), TypeError, "no rule <d>");
});
