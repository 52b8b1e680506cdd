import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Rng } from "../../../src/common/rng.ts";
import heldOut from "../../../scripts/eval/lm/held_out_words.json" with { type: "json" };
import { families } from "../../../scripts/eval/lm/families.ts";
import { Lexicon } from "../../../scripts/eval/lm/lexicon.ts";
import type { Split } from "../../../scripts/eval/lm/wordings.ts";

const lengths = [1024, 4096, 16384];

for (const [name, family] of Object.entries(families)) {
  Deno.test(`${name} asks only for values that its statements hold, in both splits of wording`, () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.constantFrom(...lengths),
        fc.constantFrom<Split>("seen", "held_out"),
        (seed, length, wording) => {
          const sample = family.sample({
            lexicon: new Lexicon(new Rng(seed)),
            wording,
            facts: family.facts(length),
            questions: 4,
          });
          const context = sample.statements.join("\n");
          assert(sample.questions.length >= 1 && sample.questions.length <= 4);
          for (const question of sample.questions) {
            assert(question.values.length > 0);
            for (const value of question.values) assert(context.includes(value), value);
          }
          const all = context + sample.questions.map((question) => question.text).join("\n");
          assert(!/[{]\w[}]|undefined/.test(all), "a wording has an empty place");
        },
      ),
      { numRuns: 30 },
    );
  });
}

Deno.test("Lexicon draws multiples of 11 and words kept from training", () => {
  const lexicon = new Lexicon(new Rng(4));
  for (let i = 0; i < 200; i++) {
    const number = lexicon.number();
    assertEquals(Number(number) % 11, 0);
    assert(number.length >= 4 && number.length <= 8, number);
    assert(heldOut.includes(lexicon.word()));
  }
});
