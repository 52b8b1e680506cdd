import { assertEquals } from "@std/assert";
import { bindings, entryPoints } from "../../scripts/checks/shaders.ts";

const source = `@group(0) @binding(0) var<storage, read> keys: array<f32>;
@group(0) @binding(1)
var<uniform> step: Step;
fn helper() {}
@compute @workgroup_size(64)
fn sum_rows(@builtin(global_invocation_id) id: vec3<u32>) {}
`;

Deno.test("entryPoints finds functions with a stage and no others", () => {
  assertEquals(entryPoints(source), [{ name: "sum_rows", line: 5 }]);
});

Deno.test("bindings finds bound resources with their lines", () => {
  assertEquals(bindings(source), [{ name: "keys", line: 1 }, { name: "step", line: 2 }]);
});
