import type { Rng } from "../../../src/common/rng.ts";

/** A text with `<rule>` for other rules and `<word>` for a random word; with a weight where it is not 1. */
export type Alternative = string | [weight: number, text: string];

/** Rules by name. */
export type Rules = Record<string, Alternative[]>;

const SYMBOL = /<([a-z_]+)>/;

/** One text of `rule`. `word` draws what stands for `<word>`. */
export function expand(rules: Rules, rule: string, rng: Rng, word: () => string): string {
  if (rule === "word") return word();
  const alternatives = rules[rule];
  if (alternatives === undefined) throw new TypeError(`no rule <${rule}> among the wordings`);
  // Odd places of a split text are the names of rules.
  return draw(alternatives, rng).split(SYMBOL)
    .map((part, index) => index % 2 === 0 ? part : expand(rules, part, rng, word)).join("");
}

/** Every rule that `rule` can lead to, itself included. */
export function reachable(rules: Rules, rule: string): Set<string> {
  const found = new Set<string>();
  const open = [rule];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    for (const alternative of rules[name] ?? []) {
      const text = typeof alternative === "string" ? alternative : alternative[1];
      open.push(...text.split(SYMBOL).filter((_, index) => index % 2 === 1));
    }
  }
  return found;
}

function draw(alternatives: readonly Alternative[], rng: Rng): string {
  const weighted = alternatives.map((each) => typeof each === "string" ? [1, each] as const : each);
  let place = rng.uniform() * weighted.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, text] of weighted) if ((place -= weight) < 0) return text;
  return weighted[weighted.length - 1][1];
}
