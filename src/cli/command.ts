import type { EnginePool } from "../engine/types.ts";
import type { PoolOptions } from "../server/open_pool.ts";
import type { Flag } from "./flags.ts";
import type { Reporter } from "./reporter.ts";
import type { Terminal } from "./terminal.ts";

/** What a command is given beside its arguments. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Tells what happens on standard error. */
  readonly report: Reporter;
  /** Opens engines; a test gives its own. */
  openPool(options: PoolOptions): Promise<EnginePool>;
  /** Fires on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** One command of the command line, a file of its own. */
export interface Command {
  /** After the name: `[PROMPT...]`. */
  readonly usage: string;
  /** What it does, for `--help`. */
  readonly about: string;
  readonly flags: readonly Flag[];
  /** Examples for `--help`, each a whole line. */
  readonly examples?: readonly string[];
  /** Takes all arguments as they stand, `--help` included. */
  readonly passThrough?: boolean;
  /** One long computation with nothing to tidy: signals end the process, since no listener would be heard meanwhile. */
  readonly endsAtOnce?: boolean;
  /** Resolves to the exit code. */
  run(args: string[], context: CommandContext): Promise<number>;
}

/** A command by name, loaded when it is asked for. */
export interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Command>;
}
