import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { serve } from "../../src/server/serve.ts";
import { ChromiumPage, findChromium } from "../support/chromium.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

const chromium = await findChromium();
if (chromium === undefined) console.log("skipped: all pages in a browser (no chromium on PATH)");

Deno.test({
  name: "pages are no wider than a phone, and the API documentation sets names in it as code",
  ignore: chromium === undefined,
  fn: async () => {
    await using server = await serve({ port: 0, pool: new FakeEnginePool({}) });
    await using page = await ChromiumPage.open(chromium as string, { width: 390, height: 844 });
    for (const path of ["/", "/apps", "/video", "/docs"]) {
      await page.goto(`${server.url}${path}`);
      if (path === "/docs") await page.waitFor("document.querySelector('.route') !== null");
      // Without a scroll bar the two are the same: what is wider than the window counts as scrolled.
      const [wide, window] = await page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
      );
      assertEquals([path, wide], [path, window]);
    }
    const text: string = await page.evaluate("document.querySelector('#routes').textContent");
    assertEquals(text.match(/`[^`]*`?/g), null);
    // An array that may be null has its fields, too.
    assertStringIncludes(text, "tool_calls array of object | null");
    const codes = await page.evaluate(
      "[...document.querySelectorAll('summary code')].map((code) => code.textContent)",
    );
    assert(codes.includes("Retry-After"));
    assertEquals(page.errors, []);
  },
});

Deno.test({
  name:
    "pages say on a phone, and where the browser gives neither clipboard nor camera, what there is",
  ignore: chromium === undefined,
  fn: async () => {
    const reply = () => "A small bird sang in the garden.";
    await using server = await serve({ port: 0, pool: new FakeEnginePool({ reply }) });
    await using page = await ChromiumPage.open(chromium as string, { width: 390, height: 844 });
    await page.goto(server.url);
    await page.waitFor("!document.querySelector('#send').disabled");
    const ask = async (answers: number) => {
      await page.type("Tell me of a bird");
      await page.press("Enter");
      await page.waitFor(`document.querySelectorAll('.assistant .meta').length === ${answers}`);
      await page.waitFor("!document.querySelector('#send').hidden");
    };
    await ask(1);
    // One line of small print, not a letter a line.
    const height = "document.querySelector('.meta button').getBoundingClientRect().height";
    assert(await page.evaluate(height) < 30);
    // As in pages of other machines over plain HTTP.
    const without = (name: string) =>
      page.evaluate(`Object.defineProperty(navigator, '${name}', { value: undefined }) && 0`);
    await without("clipboard");
    await ask(2);
    assertEquals(await page.evaluate("document.querySelectorAll('.meta button').length"), 1);
    await page.goto(`${server.url}/video`);
    await without("mediaDevices");
    await page.click("#camera");
    await page.waitFor("document.body.textContent.includes('The camera cannot be used: browsers')");
    assertEquals(page.errors, []);
  },
});
