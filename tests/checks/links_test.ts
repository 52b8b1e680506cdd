import { assertEquals } from "@std/assert";
import { brokenLinks } from "../../scripts/checks/links.ts";

Deno.test("brokenLinks names the links to files and headings that are not there", async () => {
  const texts = new Map([
    [
      "README.md",
      "# A b's `c`\n[1](docs/a.md) [2](docs/a.md#two-words) [3](#a-bs-c) [4](src) [5](https://a.example/x#y)\n" +
      "[6](docs/b.md) [7](docs/a.md#three) [8](#none)\n```sh\n# none\n[9](nowhere)\n```\n",
    ],
    ["docs/a.md", "## Two words\n[up](../README.md#a-bs-c) [beside](README.md)\n"],
  ]);
  const problems = await brokenLinks(texts, (path) => Promise.resolve(path === "src"));
  assertEquals(problems, [
    "README.md: a link to docs/b.md: there is no docs/b.md",
    "README.md: a link to docs/a.md#three: docs/a.md has no such heading",
    "README.md: a link to #none: README.md has no such heading",
    "docs/a.md: a link to README.md: there is no docs/README.md",
  ]);
});
