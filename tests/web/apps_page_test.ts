import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { serve } from "../../src/server/serve.ts";
import { ChromiumPage, findChromium } from "../support/chromium.ts";
import { FakeEnginePool, type FakePoolOptions } from "../support/fake_engine_pool.ts";

const chromium = await findChromium();
if (chromium === undefined) {
  console.log("skipped: the applications page in a browser (no chromium on PATH)");
}

function pageTest(
  name: string,
  fake: FakePoolOptions,
  body: (page: ChromiumPage, pool: FakeEnginePool) => Promise<void>,
  apiKeys: string[] = [],
): void {
  Deno.test({
    name,
    ignore: chromium === undefined,
    fn: async () => {
      const pool = new FakeEnginePool(fake);
      await using server = await serve({ port: 0, pool, apiKeys });
      await using page = await ChromiumPage.open(chromium as string);
      await page.goto(`${server.url}/apps`);
      await body(page, pool);
      // The browser itself notes every refusal.
      if (apiKeys.length === 0) assertEquals(page.errors, []);
    },
  });
}

const ended = "!document.querySelector('#run').hidden";
const text = (id: string) => `document.querySelector('${id}').textContent`;
/** Picks an example by its name. */
const pick = (name: string) =>
  `(() => { const s = document.querySelector('#example'); s.value = '${name}'; s.dispatchEvent(new Event('change')); })()`;

pageTest(
  "apps page runs each example: a box for every call, edges for what is read, the outputs' text",
  { reply: () => "4417" },
  async (page) => {
    for (
      const [name, calls, edges, outputs] of [
        ["Map-reduce", 5, 4, 1],
        ["Chain", 4, 3, 1],
        ["Shared prompt", 4, 0, 4],
      ] as const
    ) {
      await page.evaluate(pick(name));
      await page.click("#run");
      await page.waitFor("document.querySelector('.output') !== null");
      await page.waitFor(ended);
      assertMatch(await page.evaluate(text("#totals")), new RegExp(`^${calls} of ${calls} calls`));
      assertEquals(
        await page.evaluate(
          "['g.done', 'path', '.output'].map((q) => document.querySelectorAll(q).length)",
        ),
        [calls, edges, outputs],
      );
      assertEquals(await page.evaluate(text(".output p")), "4417");
    }
  },
);

pageTest(
  "apps page stops a running application and frees its engine",
  { reply: () => "word ".repeat(2000), tokenDelayMs: 4, contextLength: 1e6 },
  async (page, pool) => {
    await page.evaluate(pick("Chain"));
    await page.evaluate(
      "document.querySelector('#body').value = document.querySelector('#body').value.replaceAll('\"max_gen_length\": 40', '\"max_gen_length\": 2000')",
    );
    await page.click("#run");
    await page.waitFor("document.querySelector('g.running') !== null");
    await page.click("#stop");
    await page.waitFor(ended);
    assertEquals(pool.cancelled, 1);
  },
);

const fill = (body: unknown) =>
  `document.querySelector('#body').value = ${JSON.stringify(JSON.stringify(body))}`;
const callOf = (ref: string, template: string, transforms: unknown[] = []) => ({
  template: `${template} {{o}}`,
  parameters: [{ name: "o", is_output: true, ref, transforms }],
});
const texts =
  "[...document.querySelectorAll('.output')].map((box) => box.innerText.split('\\n\\n'))";

pageTest(
  "apps page runs a body with reads, and shows what they read",
  { reply: (_, prompt) => prompt.toUpperCase() },
  async (page) => {
    await page.evaluate(fill({
      calls: [callOf("a", "one"), callOf("b", "two")],
      outputs: { a: "latency" },
      reads: [{ ref: "a" }, { ref: "b", stream: true }],
    }));
    await page.click("#run");
    await page.waitFor(`document.querySelectorAll('.output p').length === 2 && ${ended}`);
    assertEquals(await page.evaluate("document.querySelector('#notice').hidden"), true);
    assertEquals(await page.evaluate(texts), [["a", "ONE "], ["b", "TWO "]]);
  },
);

pageTest(
  "apps page shows an output's failure in its place, and lets the others end",
  { reply: () => "word ".repeat(40), tokenDelayMs: 4 },
  async (page) => {
    await page.evaluate(fill({
      variables: [{ ref: "text", content: "nothing" }],
      calls: [
        callOf("long", "Write"),
        {
          kind: "transform",
          transforms: [{ kind: "json", path: "$.x" }],
          parameters: [
            { name: "s", is_output: false, ref: "text" },
            { name: "o", is_output: true, ref: "bad" },
          ],
        },
      ],
      outputs: { bad: "latency", long: "latency" },
    }));
    await page.click("#run");
    await page.waitFor(`document.querySelector('.output') !== null && ${ended}`);
    const [bad, long] = await page.evaluate(texts);
    assertStringIncludes(bad[1], "no JSON value");
    assertEquals(long[1].trim(), "word ".repeat(40).trim());
    assertMatch(await page.evaluate(text("#totals")), /^1 of 2 calls done · 1 failed/);
    assertStringIncludes(await page.evaluate(text("#notice")), "bad: ");
    // A refusal leaves no figures of the run before.
    await page.evaluate(fill({ calls: [{ template: 5 }] }));
    await page.click("#run");
    await page.waitFor(
      `document.querySelector('#notice').innerText.includes('template') && ${ended}`,
    );
    assertEquals(await page.evaluate(text("#totals")), "");
  },
);

pageTest(
  "apps page keeps the keyboard's place: from Run to Stop, and back",
  { reply: () => "word ".repeat(2000), tokenDelayMs: 4, contextLength: 1e6 },
  async (page) => {
    await page.evaluate(fill({ calls: [callOf("a", "Write")], outputs: { a: "TTFT" } }));
    await page.evaluate("document.querySelector('#run').focus()");
    await page.press("Enter");
    await page.waitFor("document.activeElement.id === 'stop'");
    await page.waitFor("document.querySelector('g.running') !== null");
    await page.press("Enter");
    await page.waitFor(ended);
    assertEquals(await page.evaluate("document.activeElement.id"), "run");
  },
);

pageTest("apps page says what is wrong with a body", {}, async (page) => {
  for (
    const [body, words] of [
      ["{", "not JSON"],
      ['{"calls": [{"template": 5}]}', "template"],
      ['{"outputs": {"nothing": "latency"}}', "nothing"],
    ]
  ) {
    await page.evaluate(`document.querySelector('#body').value = ${JSON.stringify(body)}`);
    await page.click("#run");
    await page.waitFor(`!document.querySelector('#notice').hidden && ${ended}`);
    assertStringIncludes(await page.evaluate(text("#notice")), words);
  }
});

pageTest("apps page asks for the key of a server that wants one, and says when there is none", {
  reply: () => "4417",
}, async (page) => {
  await page.evaluate(pick("Shared prompt"));
  await page.click("#run");
  await page.waitFor("document.querySelector('#key-dialog')?.open");
  await page.press("Escape");
  await page.waitFor(`!document.querySelector('#notice').hidden && ${ended}`);
  assertStringIncludes(await page.evaluate(text("#notice")), "none was given");
  await page.click("#run");
  await page.waitFor("document.querySelector('#key-dialog')?.open");
  await page.type("sesame");
  await page.press("Enter");
  await page.waitFor("document.querySelector('.output') !== null");
  await page.waitFor(ended);
  assertMatch(await page.evaluate(text("#totals")), /^4 of 4 calls/);
  assertEquals(await page.evaluate(text(".output p")), "4417");
}, ["sesame"]);
