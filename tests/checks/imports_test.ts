import { assertEquals } from "@std/assert";
import { checkImports, importsOf } from "../../scripts/checks/imports.ts";

Deno.test("importsOf finds imports, re-exports, side effects and dynamic imports, and marks types", () => {
  const source = `import a from "./a.ts";
import type { B } from "../model/b.ts";
export * from "./c.ts";
import "./d.ts";
import {
  e,
} from "../e.ts";
const f = await import("./f.ts");
import g from "@std/path";
// import h from "./h.ts" in a comment after text
`;
  assertEquals(
    importsOf("src/gpu/x.ts", source).map((found) => [found.target, found.line, found.typeOnly]),
    [
      ["src/gpu/a.ts", 1, false],
      ["src/model/b.ts", 2, true],
      ["src/gpu/c.ts", 3, false],
      ["src/gpu/d.ts", 4, false],
      ["src/e.ts", 5, false],
      ["src/gpu/f.ts", 8, false],
    ],
  );
});

Deno.test("checkImports reads every source file", async () => {
  const { summary } = await checkImports();
  assertEquals(Number.parseInt(summary) > 20, true, summary);
});
