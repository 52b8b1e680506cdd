/**
 * `deno task bench [NAME...] [--full] [--data DIR] [--dump DIR] [--json FILE]`: runs benches, prints a table, appends rows to a file.
 * Exits with 1 when a bench fails, 2 for wrong usage.
 * @module
 */

import { type Flag, parseFlags } from "../../src/cli/flags.ts";
import { nearest } from "../../src/cli/nearest.ts";
import { UsageError } from "../../src/cli/usage_error.ts";
import { deviceName } from "./device_name.ts";
import type { Bench } from "./harness.ts";
import { benchNames, loadBench } from "./registry.ts";
import { appendRows, readRows } from "./rows_file.ts";
import { runBenches } from "./run_benches.ts";
import { formatTable, formatValue } from "./table.ts";

const flags = [
  { name: "full", kind: "switch", help: "Also the rows that take longer" },
  {
    name: "data",
    kind: "text",
    value: "DIR",
    help: "Folder of real material, for the rows that need it",
  },
  {
    name: "dump",
    kind: "text",
    value: "DIR",
    help:
      "Queries, keys and values of a real text (dump:qk): index and retrieval measure on them, too",
  },
  { name: "json", kind: "text", value: "FILE", help: "Append rows to this JSON array" },
] as const satisfies readonly Flag[];

async function main(args: string[]): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.help) {
    console.log(await help());
    return 0;
  }
  for (const folder of [given.data, given.dump]) {
    if (folder !== undefined) await Deno.stat(folder);
  }
  // A file that cannot take rows is better known before the benches than after.
  if (given.json !== undefined) await readRows(given.json);
  const benches = await wanted(given.rest);
  const device = await deviceName();
  console.error(`${benches.map((bench) => bench.name).join(", ")} on ${device}`);
  const { rows, failures } = await runBenches(benches, {
    full: given.full,
    data: given.data,
    dump: given.dump,
    device,
    note: (text) => console.error(text),
    onRow: (row) =>
      console.error(
        `  ${row.bench}/${row.case}/${row.metric}: ${formatValue(row.value)} ${row.unit}`,
      ),
  });
  if (rows.length > 0) console.log(`\n${formatTable(rows)}\n\n${device}`);
  if (given.json !== undefined) await appendRows(given.json, rows);
  for (const { bench, error } of failures) {
    console.error(`bench ${bench} failed: ${error instanceof Error ? error.stack : error}`);
  }
  return failures.length > 0 ? 1 : 0;
}

/** The benches asked for by name, or all that are there. */
async function wanted(names: readonly string[]): Promise<Bench[]> {
  const benches: Bench[] = [];
  for (const name of names.length > 0 ? names : benchNames) {
    const known = (benchNames as readonly string[]).includes(name);
    const bench = known ? await loadBench(name) : undefined;
    if (bench !== undefined) benches.push(bench);
    else if (names.length > 0) {
      const guess = nearest(name, benchNames);
      throw new UsageError(
        `no bench "${name}"${
          guess === undefined || guess === name ? "" : `; did you mean ${guess}?`
        }`,
      );
    }
  }
  return benches;
}

async function help(): Promise<string> {
  const lines = ["Usage: deno task bench [NAME...] [FLAGS]", "", "Benches:"];
  for (const bench of await wanted([])) lines.push(`  ${bench.name.padEnd(12)}  ${bench.summary}`);
  lines.push("", "Flags:");
  for (const flag of flags) {
    const value = "value" in flag ? ` ${flag.value}` : "";
    lines.push(`  ${`--${flag.name}${value}`.padEnd(12)}  ${flag.help}`);
  }
  return lines.join("\n");
}

try {
  Deno.exit(await main(Deno.args));
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  Deno.exit(error instanceof UsageError ? 2 : 1);
}
