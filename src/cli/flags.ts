import { parseArgs } from "@std/cli";
import { nearest } from "./nearest.ts";
import { UsageError } from "./usage_error.ts";

/** A flag of a command. */
export interface Flag {
  /** Without dashes. */
  readonly name: string;
  /** One letter, without its dash. */
  readonly short?: string;
  /** `switch` is on or off, `text` takes a value, `texts` may be given several times, `number` is checked. */
  readonly kind: "switch" | "text" | "texts" | "number";
  /** What stands for the value in the help. */
  readonly value?: string;
  readonly help: string;
}

type ValueOf<K extends Flag["kind"]> = K extends "switch" ? boolean
  : K extends "texts" ? string[]
  : K extends "number" ? number | undefined
  : string | undefined;

/** Parsed flags by name, and the words that are not flags. */
export type FlagValues<F extends readonly Flag[]> =
  & {
    [One in F[number] as One["name"]]: ValueOf<One["kind"]>;
  }
  & { rest: string[] };

/** Accepted by every command. */
export const helpFlag: Flag = {
  name: "help",
  short: "h",
  kind: "switch",
  help: "Show this text",
};

/** Reads a command's arguments. Throws `UsageError` naming the nearest flag, or the value met. */
export function parseFlags<const F extends readonly Flag[]>(
  flags: F,
  args: readonly string[],
): FlagValues<F> & { help: boolean } {
  const all: readonly Flag[] = [...flags, helpFlag];
  const withValue = all.filter((flag) => flag.kind !== "switch").map((flag) => flag.name);
  const parsed = parseArgs([...args], {
    boolean: all.filter((flag) => flag.kind === "switch").map((flag) => flag.name),
    string: [...withValue, "_"],
    collect: withValue,
    alias: Object.fromEntries(
      all.flatMap((flag) => flag.short === undefined ? [] : [[flag.name, flag.short]]),
    ),
    unknown: (arg, key) => {
      if (key === undefined) return true;
      const name = arg.replace(/^-+/, "").split("=")[0];
      const guess = nearest(name, all.map((flag) => flag.name));
      throw new UsageError(
        `unknown flag ${arg.split("=")[0]}${
          guess === undefined ? "" : `; did you mean --${guess}?`
        }`,
      );
    },
  });
  const values: Record<string, unknown> = { rest: parsed._.map(String) };
  for (const flag of all) values[flag.name] = valueOf(flag, parsed[flag.name]);
  return values as FlagValues<F> & { help: boolean };
}

function valueOf(flag: Flag, parsed: unknown): unknown {
  if (flag.kind === "switch") return parsed === true;
  const given = (parsed ?? []) as string[];
  if (given.includes("")) {
    throw new UsageError(
      `--${flag.name} needs a value; one that starts with a dash is written --${flag.name}=-1`,
    );
  }
  if (flag.kind === "texts") return given;
  if (given.length > 1) throw new UsageError(`--${flag.name} is given ${given.length} times`);
  if (flag.kind === "text" || given.length === 0) return given[0];
  const number = Number(given[0]);
  if (given[0].trim() === "" || !Number.isFinite(number)) {
    throw new UsageError(`--${flag.name}: expected a number, got ${JSON.stringify(given[0])}`);
  }
  return number;
}
