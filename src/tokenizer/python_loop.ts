import { pythonEqual } from "./python_operators.ts";
import { make, undefinedValue, type Value } from "./python_values.ts";

/** The `loop` of each iteration over `items`, by its place. */
export function loopOf(items: readonly Value[]): (i: number) => Value {
  const { length } = items;
  let last: Value | undefined;
  const changed = make.function((args) => {
    const now = make.list(args);
    const same = last !== undefined && pythonEqual(last, now);
    last = now;
    return make.boolean(!same);
  });
  return (i) =>
    make.mapping(
      new Map([
        ["index", make.integer(i + 1)],
        ["index0", make.integer(i)],
        ["revindex", make.integer(length - i)],
        ["revindex0", make.integer(length - i - 1)],
        ["first", make.boolean(i === 0)],
        ["last", make.boolean(i === length - 1)],
        ["length", make.integer(length)],
        ["depth", make.integer(1)],
        ["depth0", make.integer(0)],
        ["previtem", items[i - 1] ?? undefinedValue],
        ["nextitem", items[i + 1] ?? undefinedValue],
        ["cycle", make.function((args) => args[i % args.length] ?? undefinedValue)],
        ["changed", changed],
      ]),
    );
}
