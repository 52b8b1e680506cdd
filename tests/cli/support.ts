import { main } from "../../src/cli/main.ts";
import type { PoolOptions } from "../../src/server/open_pool.ts";
import { FakeEnginePool, type FakePoolOptions } from "../support/fake_engine_pool.ts";

/** What a run of the command line did. */
export interface CliResult {
  code: number;
  out: string;
  err: string;
  /** What the pool was opened with. */
  opened: PoolOptions[];
  pool: FakeEnginePool;
}

/** Runs the command line in this process over a fake pool. */
export async function cli(
  args: string[],
  options: { fake?: FakePoolOptions; interactive?: boolean; onOut?: (text: string) => void } = {},
): Promise<CliResult> {
  const { fake, interactive = false, onOut } = options;
  const pool = new FakeEnginePool(fake);
  const opened: PoolOptions[] = [];
  let out = "";
  let err = "";
  const code = await main(args, {
    terminal: {
      out: {
        write: (text) => {
          out += text;
          onOut?.(text);
        },
        isInteractive: interactive,
      },
      err: { write: (text) => void (err += text), isInteractive: interactive },
    },
    openPool: (asked) => {
      opened.push(asked);
      return Promise.resolve(pool);
    },
  });
  return { code, out, err, opened, pool };
}
