import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type RunningServer, serve } from "../../src/server/serve.ts";
import { ChromiumPage, findChromium } from "../support/chromium.ts";
import { FakeEnginePool, type FakePoolOptions } from "../support/fake_engine_pool.ts";
import { until } from "../support/until.ts";

const chromium = await findChromium();
if (chromium === undefined) console.log("skipped: the pages in a browser (no chromium on PATH)");

/** A test with a page of a server over a fake pool. */
function pageTest(
  name: string,
  fake: FakePoolOptions,
  body: (page: ChromiumPage, server: RunningServer, pool: FakeEnginePool) => Promise<void>,
  apiKeys: string[] = [],
): void {
  Deno.test({
    name,
    ignore: chromium === undefined,
    fn: async () => {
      const pool = new FakeEnginePool(fake);
      await using server = await serve({ port: 0, pool, apiKeys });
      await using page = await ChromiumPage.open(chromium as string);
      await page.goto(server.url);
      await body(page, server, pool);
    },
  });
}

const answer = "document.querySelector('.message.assistant .text')?.textContent";
const reply = () => "A small bird sang in the garden.";

pageTest(
  "chat page shows how much of a long question is read",
  { reply, startDelayMs: 1500 },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.evaluate("document.querySelector('#input').value = 'why '.repeat(200)");
    await page.evaluate("document.querySelector('#send').click()");
    const stats = "document.querySelector('#stats').textContent";
    await page.waitFor(`/^Reading: 6\\d % of 8\\d\\d tokens…$/.test(${stats})`);
    await page.waitFor(`/tokens\\/s/.test(${stats})`);
  },
);

pageTest(
  "chat page streams an answer, shows its figures, and sends the whole chat the next time",
  { reply, tokenDelayMs: 2, models: ["small", "large"] },
  async (page, _server, pool) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    assertEquals(await page.evaluate("document.activeElement.id"), "input");
    await page.type("Tell me of a bird");
    await page.press("Enter");
    await page.waitFor(`${answer} === ${JSON.stringify(reply())}`);
    await page.waitFor("!document.querySelector('#send').hidden");
    const figures = await page.evaluate("document.querySelector('#stats').textContent");
    assertMatch(figures, /32 tokens · [\d.]+ tokens\/s · first after [\d.]+ ms · prompt \d+/);
    assertEquals(
      await page.evaluate("document.querySelector('.message.user .text').textContent"),
      "Tell me of a bird",
    );

    await page.evaluate("document.querySelector('#system').value = 'Be kind'");
    await page.evaluate("document.querySelector('#temperature').value = '0'");
    await page.evaluate("document.querySelector('#model').value = 'large'");
    await page.type("And then?");
    await page.press("Enter");
    await until(() => pool.requests.length === 2, "the second question is asked");
    const request = pool.requests[1];
    assertEquals(request.model, "large");
    assertEquals(request.progress, true);
    assertEquals(request.sampling.temperature, 0);
    assertEquals(request.maxTokens, 256);
    assertEquals(request.prompt, {
      type: "chat",
      messages: [
        { role: "system", content: "Be kind" },
        { role: "user", content: "Tell me of a bird" },
        { role: "assistant", content: reply() },
        { role: "user", content: "And then?" },
      ],
    });
    assertEquals(page.errors, []);
  },
);

pageTest(
  "chat page offers messages to begin with until there is one",
  { reply },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    const offers = "document.querySelectorAll('#suggestions button')";
    const shown = "getComputedStyle(document.querySelector('#start')).display";
    await page.evaluate(`${offers}[1].click()`);
    assertStringIncludes(await page.evaluate("document.querySelector('#input').value"), "VAR ");
    assertEquals(await page.evaluate(shown), "block");
    await page.press("Enter");
    await page.waitFor(`${answer} === ${JSON.stringify(reply())}`);
    assertEquals(await page.evaluate(shown), "none");
    await page.evaluate("document.querySelector('#new-chat').click()");
    assertEquals(await page.evaluate(shown), "block");
    assertEquals(page.errors, []);
  },
);

pageTest(
  "chat page stops on the button and on Escape, and frees the engine",
  { reply: () => "word ".repeat(2000), tokenDelayMs: 4, contextLength: 1e6 },
  async (page, _server, pool) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    for (const [i, stop] of ["button", "Escape"].entries()) {
      await page.type("Go on");
      await page.press("Enter");
      await page.waitFor(
        `document.querySelectorAll('.message.assistant .text')[${i}]?.textContent.length > 5`,
      );
      if (stop === "button") await page.click("#stop-button");
      else await page.press("Escape");
      await page.waitFor("document.querySelector('#stats').textContent === 'Stopped.'");
      await until(() => pool.cancelled === i + 1, "the generation is cancelled");
    }
    assertEquals(pool.load()[0].running, 0);
    assertEquals(page.errors, []);
  },
);

pageTest(
  "chat page begins anew while it answers: what was said before is no part of the new chat",
  { reply: () => "word ".repeat(500), tokenDelayMs: 4, contextLength: 1e6 },
  async (page, _server, pool) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("Tell me a secret");
    await page.press("Enter");
    await page.waitFor(`(${answer} ?? '').length > 20`);
    await page.click("#new-chat");
    await page.waitFor("!document.querySelector('#send').hidden");
    assertEquals(await page.evaluate("document.querySelector('#stats').textContent"), "");
    await page.type("Hello");
    await page.press("Enter");
    await until(() => pool.requests.length === 2, "the new chat is asked for");
    assertEquals(pool.requests[1].prompt, {
      type: "chat",
      messages: [{ role: "user", content: "Hello" }],
    });
  },
);

pageTest(
  "chat page says a refusal in the server's words and gives the text back",
  { contextLength: 20 },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("This is longer than the context");
    await page.press("Enter");
    await page.waitFor("!document.querySelector('#notice').hidden");
    const notice = await page.evaluate("document.querySelector('#notice').textContent");
    assertStringIncludes(notice, "expected fewer than the context's 20");
    assertEquals(
      await page.evaluate("document.querySelector('#input').value"),
      "This is longer than the context",
    );
    assertEquals(await page.evaluate("document.querySelectorAll('.message').length"), 0);
  },
);

pageTest(
  "chat page continues a text with a model that knows no chat",
  { reply: () => " there was a fox", chatTemplate: false },
  async (page, _server, pool) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("Once upon a time");
    await page.press("Enter");
    await page.waitFor(`${answer} === 'Once upon a time there was a fox'`);
    assertEquals(pool.requests[0].prompt.type, "parts");
  },
);

pageTest("chat page asks for the key of a server that wants one", { reply }, async (page) => {
  await page.waitFor("document.querySelector('#key-dialog')?.open");
  await page.type("sesame");
  await page.press("Enter");
  await page.waitFor("!document.querySelector('#send').disabled");
  await page.type("Hello");
  await page.press("Enter");
  await page.waitFor(`${answer} === ${JSON.stringify(reply())}`);
}, ["sesame"]);

pageTest(
  "chat page says that a key is missing, and asks again for a wrong one",
  {},
  async (page) => {
    await page.waitFor("document.querySelector('#key-dialog')?.open");
    await page.type("wrong");
    await page.evaluate("document.querySelector('#key-dialog').id = 'first'");
    await page.press("Enter");
    await page.waitFor("document.querySelector('#key-dialog')?.open");
    await page.press("Escape");
    await page.waitFor("!document.querySelector('#notice').hidden");
    assertStringIncludes(
      await page.evaluate("document.querySelector('#notice').textContent"),
      "asks for an API key, and none was given",
    );
    assertEquals(
      await page.evaluate("document.querySelector('#model').textContent.trim()"),
      "No models",
    );
  },
  ["sesame"],
);

pageTest("chat page switches between light and dark, and remembers", {}, async (page, server) => {
  const paper = "getComputedStyle(document.body).backgroundColor";
  const light = await page.evaluate(paper);
  await page.click("#theme");
  const dark = await page.evaluate(paper);
  assert(light !== dark, `${light} and ${dark} differ`);
  await page.goto(server.url);
  assertEquals(await page.evaluate(paper), dark);
});

pageTest("docs page shows every route of the document", {}, async (page, server) => {
  await page.goto(`${server.url}/docs`);
  await page.waitFor("document.querySelectorAll('section.route').length > 0");
  const shown = await page.evaluate("document.querySelectorAll('section.route').length");
  const { paths } = await (await fetch(`${server.url}/openapi.json`)).json();
  assertEquals(shown, Object.values(paths).flatMap((m) => Object.keys(m as object)).length);
  assertStringIncludes(
    await page.evaluate("document.querySelector('#post-v1-chat-completions').textContent"),
    "max_completion_tokens",
  );
  assertEquals(page.errors, []);
});

pageTest(
  "chat page shows which setting is wrong though the settings are folded up",
  { reply },
  async (page, _server, pool) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    const set = (value: string) =>
      page.evaluate(`(() => {
        document.querySelector('#temperature').value = '${value}';
        document.querySelector('#settings').open = false;
        document.querySelector('#input').focus();
      })()`);
    await set("7");
    await page.type("Hello");
    await page.press("Enter");
    await page.waitFor("document.querySelector('#settings').open");
    assertEquals(await page.evaluate("document.activeElement.id"), "temperature");
    assertEquals(pool.requests.length, 0);
    // Between the steps of the arrows.
    await set("0.33");
    await page.press("Enter");
    await until(() => pool.requests.length === 1, "the question is asked");
    assertEquals(pool.requests[0].sampling.temperature, 0.33);
  },
);

pageTest(
  "chat page leaves the focus where the reader took it when an answer ends",
  { reply, tokenDelayMs: 20 },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    const focused = "document.activeElement.id";
    for (const taken of ["system", "send", "stop-button"]) {
      await page.evaluate("document.querySelector('#input').focus()");
      await page.type("Hello");
      await page.evaluate("document.querySelector('#send').click()");
      await page.waitFor("!document.querySelector('#stop-button').hidden");
      // Sent by the button: it is hidden, so nothing has the focus.
      if (taken === "send") await page.evaluate("document.activeElement.blur()");
      else await page.evaluate(`document.querySelector('#${taken}').focus()`);
      if (taken === "stop-button") await page.press("Enter");
      await page.waitFor("!document.querySelector('#send').hidden");
      assertEquals(await page.evaluate(focused), taken === "system" ? "system" : "input");
    }
  },
);

pageTest(
  "chat page gives a question back before what was written meanwhile",
  { reply, startDelayMs: 60_000 },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("The first question");
    await page.press("Enter");
    await page.waitFor("!document.querySelector('#stop-button').hidden");
    await page.type("And a draft");
    await page.press("Escape");
    await page.waitFor("!document.querySelector('#send').hidden");
    assertEquals(
      await page.evaluate("document.querySelector('#input').value"),
      "The first question\n\nAnd a draft",
    );
  },
);

pageTest(
  "chat page says that an answer is not whole while it grows, so that it is read out once",
  { reply, tokenDelayMs: 20 },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("Hello");
    await page.press("Enter");
    const busy = "document.querySelector('.assistant')?.getAttribute('aria-busy')";
    await page.waitFor(`${busy} === 'true'`);
    await page.waitFor("!document.querySelector('#send').hidden");
    assertEquals(await page.evaluate(answer), reply());
    assertEquals(await page.evaluate(busy), "false");
  },
);

pageTest(
  "chat page says in words that the connection broke, and keeps what came",
  { reply },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    // As from a server that is killed while it answers.
    await page.evaluate(`(() => {
      const event = { choices: [{ index: 0, delta: { content: "A small" } }] };
      const bytes = new TextEncoder().encode("data: " + JSON.stringify(event) + "\\n\\n");
      globalThis.fetch = () => Promise.resolve(new Response(new ReadableStream({
        start(stream) {
          stream.enqueue(bytes);
          setTimeout(() => stream.error(new TypeError("network error")), 100);
        },
      })));
    })()`);
    await page.type("Hello");
    await page.press("Enter");
    await page.waitFor("!document.querySelector('#notice').hidden");
    assertEquals(
      await page.evaluate("document.querySelector('#notice').textContent"),
      "The connection to the server broke before the answer's end.",
    );
    assertEquals(await page.evaluate(answer), "A small");
  },
);

pageTest(
  "chat page works though another application of the address left its own settings",
  { reply },
  async (page, server) => {
    for (const left of ["{not JSON", "null", '{"temperature":{}}']) {
      await page.evaluate(`localStorage.setItem('settings', ${JSON.stringify(left)})`);
      await page.goto(server.url);
      await page.waitFor("!document.querySelector('#send').disabled");
      assertEquals(await page.evaluate("document.querySelector('#temperature').value"), "0.8");
    }
    assertEquals(page.errors, []);
  },
);

pageTest(
  "chat page sets each paragraph in the direction of its own script",
  { reply: () => "مرحبا (test)\nand on" },
  async (page) => {
    await page.waitFor("!document.querySelector('#send').disabled");
    await page.type("مرحبا (test)");
    /** Where the letters `from` to `to` of the answer begin, from the left. */
    const left = (from: number, to: number) =>
      page.evaluate(`(() => {
        const range = document.createRange();
        const text = document.querySelector('.assistant .text').firstChild;
        range.setStart(text, ${from});
        range.setEnd(text, ${to});
        return range.getBoundingClientRect().left;
      })()`);
    assertEquals(
      await page.evaluate("document.querySelector('#input').matches(':dir(rtl)')"),
      true,
    );
    await page.press("Enter");
    await page.waitFor(`${answer} === ${JSON.stringify("مرحبا (test)\nand on")}`);
    assert(await left(7, 11) < await left(0, 5), "what comes later is on the left");
    assert(await left(13, 16) < await left(17, 19), "and in the next paragraph on the right");
  },
);

pageTest(
  "docs page is shown whatever follows the # of its address, and says where a key goes",
  {},
  async (page, server) => {
    const shown = "document.querySelectorAll('section.route').length > 0";
    for (const hash of ["#/paths/~1v1~1models", "#1", "#%", "#post-tokenize"]) {
      await page.goto("about:blank");
      await page.goto(`${server.url}/docs${hash}`);
      await page.waitFor(shown);
    }
    assert(await page.evaluate("scrollY") > 1000, "the section named is scrolled to");
    assertStringIncludes(
      await page.evaluate("document.querySelector('#routes').textContent"),
      "Authorization: Bearer KEY",
    );
    assertEquals(page.errors, []);
  },
  ["sesame"],
);
