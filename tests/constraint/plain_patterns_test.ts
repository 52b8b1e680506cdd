import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { plainPattern } from "../../src/constraint/plain_patterns.ts";
import { readJsonSchema } from "../../src/constraint/read_json_schema.ts";

const email = String
  .raw`^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`;
const duration = String
  .raw`^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$`;
const decimals = String.raw`^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$`;
const places = String.raw`^(?!^[-+.]*$)[+-]?0*\d*\.?\d{0,2}0*$`;
const digits = String
  .raw`^(?!^[-+.]*$)[+-]?0*(?:\d{0,3}|(?=[\d.]{1,6}0*$)\d{0,3}\.\d{0,2}0*$)`;

/** All texts of up to `most` of `parts`. */
function* texts(parts: readonly string[], most: number): Generator<string> {
  yield "";
  if (most === 0) return;
  for (const text of texts(parts, most - 1)) for (const part of parts) yield part + text;
}

Deno.test("plainPattern matches what the patterns of Zod and Pydantic match, without look-around", () => {
  const cases: [pattern: string, parts: string[], most: number][] = [
    [email, ["a", ".", "'", "-", "@", "b.de"], 6],
    [duration, ["P", "T", "1W", "2Y", "3M", "4D", "5H", "6S", "7.8S"], 5],
    [decimals, ["+", "-", ".", "0", "5"], 6],
    [places, ["+", "-", ".", "0", "5"], 7],
  ];
  for (const [pattern, parts, most] of cases) {
    const plain = plainPattern(pattern);
    const [theirs, ours] = [new RegExp(pattern), new RegExp(plain)];
    let matched = 0;
    for (const text of texts(parts, most)) {
      assertEquals(ours.test(text), theirs.test(text), `${pattern} of ${JSON.stringify(text)}`);
      if (ours.test(text)) matched++;
    }
    assert(matched > 20, pattern);
    assertEquals(readJsonSchema({ type: "string", pattern }), { type: "string", pattern: plain });
  }
});

Deno.test("plainPattern keeps a decimal's digits, which Pydantic's pattern leaves open at the end", () => {
  const [theirs, ours] = [new RegExp(digits), new RegExp(plainPattern(digits))];
  for (const text of texts(["+", ".", "0", "5"], 7)) {
    if (ours.test(text)) assert(theirs.test(text), text);
  }
  for (const text of ["5", "-0", "555.55", "000555.5500", ".05", "+5."]) {
    assert(ours.test(text), text);
  }
  for (const text of ["", ".", "5555", "5.555", "5x"]) assert(!ours.test(text), text);
});

Deno.test("plainPattern leaves other patterns as they are, and those that look around are refused", () => {
  const together = String.raw`^(?!^[-+.]*$)[+-]?0*(?:\d{0,5}|(?=[\d.]{1,6}0*$)\d*\.\d*0*$)`;
  for (const pattern of [`${email}|x`, together, `${decimals}x`, digits.replace("1,6", "1,5")]) {
    assertEquals(plainPattern(pattern), pattern);
    assertThrows(() => readJsonSchema({ pattern }), ConstraintError, "without look-around");
  }
  assertEquals(plainPattern("^a$"), "^a$");
});
