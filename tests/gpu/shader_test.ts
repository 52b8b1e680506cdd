import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { assembleShader, type ShaderConstants } from "../../src/gpu/shader.ts";
import { shaderFragments, shaderPaths } from "../../src/kernels/shader_files.ts";

function expand(source: string, constants: ShaderConstants = {}): string {
  return assembleShader("test", [{ name: "shaders/test.wgsl", source }], constants).code;
}

function assertRefused(source: string, message: string, constants: ShaderConstants = {}): void {
  assertThrows(() => expand(source, constants), SyntaxError, message);
}

Deno.test("assembleShader leaves plain WGSL as it is, lines and all", () => {
  const source = "// a # comment\nfn f() -> u32 {\n\n  return 7u % 4u; // not #1 either\n}\n";
  assertEquals(expand(source), source);
});

Deno.test("assembleShader repeats a region with its counter, 0 times included", () => {
  assertEquals(
    expand("a\n//#for r in 0..3\nvar x_#r = #r;\n//#end\nb"),
    "a\nvar x_0 = 0;\nvar x_1 = 1;\nvar x_2 = 2;\nb",
  );
  assertEquals(expand("a\n  //#for r in 2..2\nx\n  //#end\nb"), "a\nb");
});

Deno.test("assembleShader nests regions whose bounds and expressions use counters and constants", () => {
  const source = `//#for i in 0..N
//#for j in i..N * 2 - 1
w[#(i * 10 + j)u] = v_#i_#j[#(j / 2)];
//#end
//#end`;
  assertEquals(
    expand(source, { N: 2 }),
    [
      "w[0u] = v_0_0[0];",
      "w[1u] = v_0_1[0];",
      "w[2u] = v_0_2[1];",
      "w[11u] = v_1_1[0];",
      "w[12u] = v_1_2[1];",
    ].join("\n"),
  );
});

Deno.test("assembleShader's expressions follow the usual rules of precedence and round down", () => {
  const values: [string, number][] = [
    ["2 + 3 * 4", 14],
    ["(2 + 3) * 4", 20],
    ["7 / 2 * 2", 6],
    ["7 - 2 - 1", 4],
    ["-N + 10", 6],
    ["N % 3", 1],
    ["((N))", 4],
    ["2 * (N / 2 - (1 - N))", 10],
  ];
  for (const [expression, value] of values) {
    assertEquals(expand(`#(${expression})`, { N: 4 }), String(value), expression);
  }
});

Deno.test("assembleShader's expressions agree with JavaScript's", () => {
  const leaf = fc.oneof(fc.nat(99).map(String), fc.constantFrom("A", "B"));
  const flat = fc.array(fc.tuple(fc.constantFrom("+", "-", "*"), leaf), { maxLength: 4 })
    .chain((rest) => leaf.map((first) => first + rest.map(([op, x]) => ` ${op} ${x}`).join("")));
  const expression = fc.tuple(flat, fc.constantFrom("+", "-", "*"), flat)
    .map(([a, op, b]) => `(${a}) ${op} ((${b}) - 1)`);
  fc.assert(fc.property(expression, (text) => {
    const expected = new Function("A", "B", `return ${text}`)(3, 17) + 0;
    assertEquals(expand(`#(${text})`, { A: 3, B: 17 }), String(expected));
  }));
});

Deno.test("assembleShader says where a line came from", () => {
  const shader = assembleShader("test", [
    { name: "a.wgsl", source: "one\n//#for r in 0..2\ntwo_#r\n//#end\nthree" },
    { name: "b.wgsl", source: "four" },
  ]);
  assertEquals(shader.code.split("\n"), ["one", "two_0", "two_1", "three", "four"]);
  assertEquals(shader.lines.map(({ fragment, line }) => `${fragment}:${line}`), [
    "a.wgsl:1",
    "a.wgsl:3",
    "a.wgsl:3",
    "a.wgsl:5",
    "b.wgsl:1",
  ]);
});

Deno.test("assembleShader refuses bad regions, naming file and line", () => {
  assertRefused("x\n//#for r in 0..2\ny", "shaders/test.wgsl:2: region is never closed");
  assertRefused(
    "//#for r in 0..2\n//#for s in 0..2\n//#end",
    "shaders/test.wgsl:1: region is never",
  );
  assertRefused("x\n\n//#end", "shaders/test.wgsl:3: //#end stands outside a region");
  assertRefused("//#if x\n", "shaders/test.wgsl:1: //#if x stands outside a region or is unknown");
  assertRefused("//#for R in 0..2\n//#end", "shaders/test.wgsl:1");
  assertRefused(
    "//#for r in 0..2\n//#for r in 0..2\nx\n//#end\n//#end",
    "shaders/test.wgsl:2: counter r is already in use",
  );
  assertRefused("//#for r in 0..N\n//#end", 'shaders/test.wgsl:1: unknown name N in "N"');
});

Deno.test("assembleShader refuses bad expressions, naming file and line", () => {
  assertRefused("\n#(A + 1)", 'shaders/test.wgsl:2: unknown name A in "A + 1"');
  assertRefused("#nobody", 'shaders/test.wgsl:1: unknown name nobody in "nobody"');
  assertRefused("#(1 +)", "shaders/test.wgsl:1: unknown name undefined");
  assertRefused("#(1 2)", "shaders/test.wgsl:1: not an integer expression");
  assertRefused("#(A)", "shaders/test.wgsl:1: not an integer expression", { A: 0.5 });
  assertRefused("#(1 % 0)", "shaders/test.wgsl:1: not an integer expression");
  assertRefused("#(3$)", "shaders/test.wgsl:1: not an integer expression");
  assertRefused("#(1.5)", "shaders/test.wgsl:1: not an integer expression");
  assertRefused("#(2 ** 3)", "shaders/test.wgsl:1: unknown name *");
  assertRefused("x[#(1 + (2)];", 'shaders/test.wgsl:1: missing ) in "#(1 + (2)];"');
});

Deno.test("assembleShader reads bindings by index, whatever their order and layout", () => {
  const { bindings } = assembleShader("test", [{
    name: "b.wgsl",
    source: `@group(0) @binding(9) var<storage, read_write> out: array<f32>;
@group(0) @binding(2)
var<storage, read> x : array<f32>;
@group(0) @binding(0) var<uniform> step: Step;
var<workgroup> shared: array<f32, 4>;
@group(0) @binding(4) var<storage> y: array<f32>;`,
  }]);
  assertEquals(bindings, [
    { binding: 0, name: "step", type: "uniform" },
    { binding: 2, name: "x", type: "read-only-storage" },
    { binding: 4, name: "y", type: "read-only-storage" },
    { binding: 9, name: "out", type: "storage" },
  ]);
});

Deno.test("assembleShader refuses a second group and a binding declared twice", () => {
  assertRefused("@group(1) @binding(0) var<uniform> a: A;", "a is in group 1, expected 0");
  assertRefused(
    "@group(0) @binding(0) var<uniform> a: A;\n@group(0) @binding(0) var<uniform> b: B;",
    "binding 0 is declared twice",
  );
});

Deno.test("shaderPaths lists every file under shaders that kernels use, under its own name", () => {
  for (const path of shaderPaths) {
    const [{ name, source }] = shaderFragments(path);
    assertEquals(source, Deno.readTextFileSync(new URL(`../../${name}`, import.meta.url)), name);
  }
});
