/**
 * `deno run -A scripts/eval/lm/log_probabilities.ts --ids FILE --out FILE [--model FILE]`: what the engine's own kernels
 * give each token of a text after those before it (nats, f32), for `compare_log_probabilities.py`.
 * @module
 */

import { type Flag, parseFlags } from "../../../src/cli/flags.ts";
import { GpuStepRunner } from "../../../src/engine/runner.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";

const flags = [
  { name: "ids", kind: "text", value: "FILE", help: "Token ids, as dump:qk --ids writes them" },
  { name: "out", kind: "text", value: "FILE", help: "Receives the log-probabilities" },
  { name: "model", kind: "text", value: "FILE", help: "Default models/sparrow-tiny.gguf" },
] as const satisfies readonly Flag[];

async function main(args: string[]): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.help || given.ids === undefined || given.out === undefined) {
    for (const flag of flags) console.log(`  --${flag.name.padEnd(8)} ${flag.help}`);
    return given.help ? 0 : 2;
  }
  const ids = new Uint32Array((await Deno.readFile(given.ids)).buffer);
  using file = GgufFile.open(given.model ?? "models/sparrow-tiny.gguf");
  await using runner = await GpuStepRunner.load(file, {});
  await Deno.writeFile(given.out, new Uint8Array(runner.score(ids).slice().buffer));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
