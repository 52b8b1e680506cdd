import { assertEquals } from "@std/assert";
import { compareSymbols, rustExports } from "../../scripts/checks/ffi.ts";

const rust = `
/// Adds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn thing_add(handle: u64, rows: *const f32, // the rows
    len: u32,
) -> i32 {
  guard(|| {})
}
#[unsafe(no_mangle)]
pub extern "C" fn thing_version() -> u32 { 1 }
fn not_exported(x: u32) -> i32 { 0 }
`;
const exports = rustExports("x.rs", rust);
const good = {
  thing_add: {
    names: ["handle", "rows", "len"],
    parameters: ["u64", "buffer", "u32"],
    result: "i32",
  },
  thing_version: { names: [], parameters: [], result: "u32" },
} as const;

Deno.test("compareSymbols accepts a table that matches the Rust source", () => {
  assertEquals(exports.length, 2);
  assertEquals(compareSymbols(good, exports), []);
});

Deno.test("compareSymbols reports wrong names, types, results, and missing functions on either side", () => {
  const { thing_add, thing_version } = good;
  const problems = (table: Parameters<typeof compareSymbols>[0]) =>
    compareSymbols(table, exports).length;
  assertEquals(
    problems({ ...good, thing_add: { ...thing_add, names: ["handle", "len", "rows"] } }),
    1,
  );
  assertEquals(
    problems({ ...good, thing_add: { ...thing_add, parameters: ["u64", "buffer", "u64"] } }),
    1,
  );
  assertEquals(
    problems({ ...good, thing_add: { ...thing_add, parameters: ["u64", "buffer"] } }),
    1,
  );
  assertEquals(problems({ ...good, thing_version: { ...thing_version, result: "i32" } }), 1);
  assertEquals(problems({ thing_add }), 1);
  assertEquals(problems({ ...good, ghost: thing_version }), 1);
});
