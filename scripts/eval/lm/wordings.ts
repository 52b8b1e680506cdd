import type { Rng } from "../../../src/common/rng.ts";
import all from "../../train/lm/wordings.json" with { type: "json" };
import { pick } from "./draw.ts";

/** Whether a wording is one that training saw, or one that was kept from it. */
export type Split = "seen" | "held_out";

/** A wording of "the noun of key is value". */
export interface FactWording {
  statement: string;
  question: string;
  answer: string;
}

/** The kinds of value that can stand under a key. */
export type ValueKind = "number" | "word" | "pair" | "short_hex" | "uuid" | "code";

/** All wordings, shared with training. */
export const wordings = {
  ...all,
  nouns: all.nouns as [noun: string, kind: ValueKind][],
  styles: all.styles as [suffix: string, short: boolean][],
  facts: all.facts as FactWording[],
  multiValue: all.multiValue as [question: string, answer: string][],
  variables: all.variables as [first: string, copy: string, question: string, answer: string][],
  passkeys: all.passkeys as [statement: string, question: string, answer: string][],
  relations: all.relations as [
    name: string,
    wordings: [statement: string, question: string, answer: string][],
  ][],
};

/** One wording of the split: of every list the last `heldOut` were kept from training. */
export function choose<T>(items: readonly T[], split: Split, rng: Rng): T {
  const cut = items.length - wordings.heldOut;
  return pick(split === "seen" ? items.slice(0, cut) : items.slice(cut), rng);
}

/** Puts values into a wording's `{name}` places. */
export function fill(wording: string, values: Record<string, string>): string {
  return wording.replace(/\{(\w+)\}/g, (_, name: string) => values[name]);
}
