import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { PAGE_TOKENS } from "../../src/model/kv_cache.ts";
import { coldEnd, paperWindow, rowWindow, windowOptions } from "../../src/retrieval/window.ts";

Deno.test("coldEnd leaves the leading and the latest tokens to the window, and fewer than a page more", () => {
  fc.assert(
    fc.property(
      fc.nat(5000),
      fc.nat(3),
      fc.integer({ min: 1, max: 900 }),
      (tokens, pages, last) => {
        const window = { first: pages * PAGE_TOKENS, last };
        const end = coldEnd(tokens, window);
        assert(end >= pages);
        const latest = tokens - end * PAGE_TOKENS;
        if (end > pages) assert(latest >= last && latest < last + PAGE_TOKENS);
        else assert(tokens < (pages + 1) * PAGE_TOKENS + last);
      },
    ),
  );
});

Deno.test("coldEnd is where the paper's window says at its edges", () => {
  assertEquals([640, 703, 704, 767, 768].map((tokens) => coldEnd(tokens, paperWindow)), [
    2,
    2,
    3,
    3,
    4,
  ]);
});

Deno.test("rowWindow lists each visible page once, and finds the token's own page by position", () => {
  fc.assert(
    fc.property(fc.nat(3000), fc.nat(4), fc.nat(40), (position, first, skipped) => {
      const own = Math.floor(position / PAGE_TOKENS);
      fc.pre(first + skipped <= own);
      const pages = Array.from({ length: own + 3 }, (_, i) => 1000 + i);
      const window = rowWindow(pages, position, first, first + skipped);
      assertEquals(window.pages.length, own + 1 - skipped);
      assertEquals(new Set(window.pages).size, window.pages.length);
      assertEquals(window.pages[Math.floor(window.position / PAGE_TOKENS)], pages[own]);
      assertEquals(window.pages[own - window.skipped], pages[own]);
      assertEquals(window.position % PAGE_TOKENS, position % PAGE_TOKENS);
    }),
  );
});

Deno.test("windowOptions refuses what is not whole pages, or shows no latest token", () => {
  assertEquals(windowOptions(), paperWindow);
  assertThrows(() => windowOptions({ first: 100 }), RangeError, "first is 100");
  assertThrows(() => windowOptions({ first: -64 }), RangeError, "first is -64");
  assertThrows(() => windowOptions({ last: 0 }), RangeError, "last is 0");
});
