/**
 * Compares the symbol tables of `ffi/` with the `extern "C"` functions of `native/abi`: a mismatch there is memory
 * corruption, found by no compiler.
 * @module
 */

import { symbols } from "../../ffi/symbols.ts";
import type { NamedFunction, SymbolTable } from "../../ffi/symbol_table.ts";
import { listFiles } from "../setup/list_files.ts";
import { inProject } from "../setup/project.ts";
import type { CheckResult } from "./check.ts";

/** A function as its Rust source declares it. */
export interface RustExport {
  name: string;
  file: string;
  parameters: { name: string; type: string }[];
  result: string;
}

const scalars = new Set([
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "u64",
  "i64",
  "usize",
  "isize",
  "f32",
  "f64",
]);

/** Deno's name of a Rust type at the ABI; undefined for one that must not cross it. */
function denoType(rust: string): string | undefined {
  if (rust === "()") return "void";
  if (/^\*(const|mut)\s/.test(rust)) return "buffer";
  return scalars.has(rust) ? rust : undefined;
}

/** The exports declared in one Rust source file. */
export function rustExports(file: string, source: string): RustExport[] {
  const bare = source.replace(/\/\/[^\n]*/g, "");
  const found: RustExport[] = [];
  const pattern =
    /#\[unsafe\(no_mangle\)\]\s*pub\s+(?:unsafe\s+)?extern\s+"C"\s+fn\s+(\w+)\s*\(([^)]*)\)\s*(?:->\s*([^{]+?))?\s*\{/g;
  for (const [, name, list, result] of bare.matchAll(pattern)) {
    const parameters = list.split(",").map((part) => part.trim()).filter((part) => part !== "").map(
      (part) => {
        const colon = part.indexOf(":");
        return { name: part.slice(0, colon).trim(), type: part.slice(colon + 1).trim() };
      },
    );
    found.push({ name, file, parameters, result: result ?? "()" });
  }
  return found;
}

/** Differences between a symbol table and what Rust exports. */
export function compareSymbols(table: SymbolTable, exports: RustExport[]): string[] {
  const problems: string[] = [];
  // One export may stand there twice, blocking and not: the second says which by `name`.
  const entries = Object.entries(table).map(([key, entry]) => ({ entry, name: entry.name ?? key }));
  const exported = new Set(exports.map((found) => found.name));
  for (const { name } of entries) {
    if (!exported.has(name)) {
      problems.push(`ffi: ${name} is in the symbol table but Rust does not export it`);
    }
  }
  for (const found of exports) {
    const matching = entries.filter((entry) => entry.name === found.name);
    if (matching.length === 0) {
      problems.push(`${found.file}: ${found.name} is exported but not in the symbol table`);
    }
    for (const { entry } of matching) problems.push(...compareOne(entry, found));
  }
  return problems;
}

function compareOne(
  entry: NamedFunction,
  { name, file, parameters, result }: RustExport,
): string[] {
  const problems: string[] = [];
  const differs = (what: string, rust: string, ours: string) => {
    if (rust !== ours) {
      problems.push(`${file}: ${name} ${what} (${rust}), the table says (${ours})`);
    }
  };
  differs(
    "takes",
    parameters.map((parameter) => parameter.name).join(", "),
    entry.names.join(", "),
  );
  const rustTypes = parameters.map(({ type }) => denoType(type) ?? `unsupported ${type}`);
  // A pointer may be passed as a buffer or as a pointer value.
  const ours = entry.parameters.map((type) => type === "pointer" ? "buffer" : String(type));
  differs("has types", rustTypes.join(", "), ours.join(", "));
  differs("returns", denoType(result) ?? result, String(entry.result));
  return problems;
}

/** Compares `ffi/symbols.ts` with `native/abi/src`. */
export async function checkFfi(): Promise<CheckResult> {
  const exports: RustExport[] = [];
  for (const file of await listFiles("native/abi/src", ["rs"])) {
    exports.push(...rustExports(file, await Deno.readTextFile(inProject(file))));
  }
  const problems = compareSymbols(symbols, exports);
  if (exports.length === 0) problems.push("native/abi/src: no exports found");
  return { summary: `${exports.length} functions`, problems };
}
