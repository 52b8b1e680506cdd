import type { Rng } from "../../../src/common/rng.ts";
import all from "../../train/lm/wordings.json" with { type: "json" };
import { pick } from "./draw.ts";
import { expand, type Rules } from "./grammar.ts";

/** Whether a wording is one that training could meet, or one that was kept from it. */
export type Split = "seen" | "held_out";

/** The kinds of value that can stand under a key. */
export type ValueKind = "number" | "word" | "pair" | "short_hex" | "uuid" | "code";

/** A held-out text, and the word of it that no rule of its family can write. */
export type Marked = [text: string, marker: string];

/** What is said about people: objects, clauses with questions, and those that training never saw. */
export interface Relation {
  objects: string[];
  forms: [clause: string, question: string][];
  questions: string[];
  heldOut: Marked[][];
}

/** The families that have held-out wordings. */
export type WordingFamily = keyof typeof all.heldOut;

/** All wordings, shared with training. */
export const wordings = {
  rules: all.rules as unknown as Rules,
  heldOut: all.heldOut as unknown as Record<WordingFamily, Marked[][]>,
  relations: all.relations as unknown as Record<string, Relation>,
  nouns: all.nouns as [noun: string, kind: ValueKind][],
  passkeyNouns: all.passkeyNouns,
  styles: all.styles as [suffix: string, short: boolean][],
  firstNames: all.firstNames,
};

/** What draws random values; a lexicon. */
interface Source {
  readonly rng: Rng;
  word(): string;
}

const PLACES = ["{k}", "{v}", "{x}", "{y}", "[[{v}", "[[{y}"];

/** A text of the rule that begins with a capital, with a word before a key or value that would begin it. */
export function compose(rule: string, source: Source): string {
  const draw = (name: string) => expand(wordings.rules, name, source.rng, () => source.word());
  let text = draw(rule);
  if (PLACES.some((place) => text.startsWith(place))) text = `${draw("lead")} ${text}`;
  return text.includes("->") || text.includes("=") ? text : sentence(text);
}

/** One held-out form of a family: its texts. */
export function heldOut(family: WordingFamily, rng: Rng): string[] {
  return pick(wordings.heldOut[family], rng).map(([text]) => text);
}

/** The question of a family whose statements have no wording of their own. */
export function question(
  family: WordingFamily,
  rule: string,
  wording: Split,
  source: Source,
): string {
  return wording === "held_out" ? heldOut(family, source.rng)[0] : compose(rule, source);
}

/** Puts values into a wording's `{name}` places; places without a value stay. */
export function fill(wording: string, values: Record<string, string>): string {
  return wording.replace(/\{(\w+)\}/g, (place, name: string) => values[name] ?? place);
}

/** The text with its first letter in upper case. */
export function sentence(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** The two texts that `[[a|b]]` stands for. */
export function both(text: string): [first: string, second: string] {
  const pair = /\[\[(.*?)\|(.*?)\]\]/g;
  return [text.replace(pair, "$1"), text.replace(pair, "$2")];
}
