import { itemsOf, mappingOf, textOf, type Value } from "./python_values.ts";

/** To print one or to compare it. */
const PER_VALUE = 4;

/**
 * The steps that going through a value takes: those of each value in a list or mapping at any depth, however often the same one is there, and `perCharacter` for
 * each character of its texts. Counting ends above `most`, so that it ends for a value that holds itself.
 */
export function workOf(value: Value, perCharacter: number, most: number): number {
  if (!itemsOf(value) && !mappingOf(value)) return perCharacter * (textOf(value)?.length ?? 0);
  let work = 0;
  const open: Iterator<Value>[] = [[value].values()];
  while (open.length > 0 && work <= most) {
    const { value: one, done } = open[open.length - 1].next();
    if (done) {
      open.pop();
      continue;
    }
    work += PER_VALUE + perCharacter * (textOf(one)?.length ?? 0);
    const parts = itemsOf(one) ?? mappingOf(one);
    if (parts) open.push(parts.values());
  }
  return work;
}
