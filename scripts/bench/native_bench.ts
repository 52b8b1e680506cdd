import { runQuietly } from "../setup/run_quietly.ts";
import type { BenchContext } from "./harness.ts";

/** A row as the program prints it. */
interface NativeRow {
  case: string;
  metric: string;
  value: number;
  unit: string;
  baseline: string | null;
  ratio: number | null;
}

/**
 * Builds the bench program in `folder` and passes its rows on. What it says on standard error goes to people as it comes.
 * @throws {Error} when it does not build, fails, or prints something else than rows.
 */
export async function runNativeBench(
  name: string,
  context: BenchContext,
  folder: string,
): Promise<void> {
  const target = `${folder}/../target/bench`;
  context.note("Building the bench program (minutes the first time) …");
  const build = [
    "build",
    "--release",
    `--manifest-path=${folder}/Cargo.toml`,
    `--target-dir=${target}`,
  ];
  const built = await runQuietly("cargo", build);
  if (built.code !== 0) {
    throw new Error(`The bench program did not build (cargo exit ${built.code}):\n${built.stderr}`);
  }
  const args = [
    name,
    ...(context.full ? ["--full"] : []),
    ...(context.data ? ["--data", context.data] : []),
    ...(context.dump ? ["--dump", context.dump] : []),
  ];
  const program = new Deno.Command(`${target}/release/sparrow-bench`, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  for await (const chunk of program.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) report(line, context);
  }
  const { code } = await program.status;
  if (code !== 0) throw new Error(`The bench program failed (exit ${code}); see above.`);
}

function report(line: string, context: BenchContext): void {
  const row = JSON.parse(line) as NativeRow;
  context.report({
    case: row.case,
    metric: row.metric,
    value: row.value,
    unit: row.unit,
    baseline: row.baseline ?? undefined,
    ratio: row.ratio ?? undefined,
    device: `CPU, ${navigator.hardwareConcurrency} threads`,
  });
}
