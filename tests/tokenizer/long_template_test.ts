import { assert, assertEquals, assertThrows } from "@std/assert";
import { ModelFormatError } from "../../src/common/errors.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { bpeTokenizer } from "./fixtures.ts";

const context = { addGenerationPrompt: true, bosToken: "<s>", eosToken: "</s>" };

Deno.test("ChatTemplate refuses a template that would take long to read, and says where it is too long", () => {
  const cases: [source: string, message: string][] = [
    ["x".repeat((1 << 20) + 1), "1048577 characters, expected at most 1048576"],
    ["{{ x }}" + " ".repeat(501), "501 blanks in a row from character 7, expected at most 500"],
    ["{% if true %}" + "\n \t".repeat(300_000), "900000 blanks in a row from character 13"],
    ["{#".repeat(300_000), "Missing end of comment tag"],
    ["{% raw %}".repeat(40_000), "Unknown statement type: raw"],
  ];
  for (const [source, message] of cases) {
    const began = performance.now();
    assertThrows(
      () => new ChatTemplate(source, "m"),
      ModelFormatError,
      `m: tokenizer.chat_template does not parse: ${message}`,
    );
    assert(performance.now() - began < 20_000, message);
  }
  const longest = `${" ".repeat(500)}x`.repeat(100);
  assertEquals(new ChatTemplate(longest, "m").render([], context), longest);
});

Deno.test("ChatTemplate prints raw blocks, and what is not closed is an error but in texts", () => {
  const cases = [
    ["{# {% raw %} #}{% raw %}{# {{ x }} #}{% endraw %}y", "{# {{ x }} #}y"],
    ["{{ '{# ' }}{% raw %}{{ x }}{% endraw %}y", "{# {{ x }}y"],
    [
      "{% raw -%}  {{ x }}{%- endraw %}a{% raw %}\n {{ y }}\n  {% endraw +%}\nb",
      "{{ x }}a {{ y }}\n\nb",
    ],
  ];
  for (const [source, text] of cases) {
    assertEquals(new ChatTemplate(source, "m").render([], context), text);
  }
  for (const source of ["a {% raw %} {# #} b", "a {# {% raw %} b {% endraw %}", "a {# b"]) {
    assertThrows(() => new ChatTemplate(source, "m"), ModelFormatError, "does not parse");
  }
});

Deno.test("Tokenizer: a template that does not parse leaves all but chats, and is read once", () => {
  const tokenizer = bpeTokenizer({ "tokenizer.chat_template": "{#".repeat(600_000) });
  assertEquals(tokenizer.decode(tokenizer.encode("Hi there")), "Hi there");
  const refused = () =>
    assertThrows(
      () => tokenizer.encodeChat([{ role: "user", content: "Hi" }]),
      ModelFormatError,
      "test.gguf: tokenizer.chat_template does not parse: 1200000 characters",
    );
  const first = refused();
  assert(refused() === first);
});

Deno.test("ChatTemplate renders a chat of a few million characters", () => {
  const source = "{% for message in messages %}{% if '</think>' in message.content %}" +
    "{% set text = message.content.split('</think>')[-1].lstrip('\\n') %}{% else %}" +
    "{% set text = message.content | trim %}{% endif %}{{ message.role + text }}{% endfor %}";
  const messages = Array.from({ length: 400 }, (_, i) => ({
    role: "user",
    content: (i % 2 ? "so</think>\n" : "") + "word ".repeat(2000),
  }));
  const rendered = new ChatTemplate(source, "m").render(messages, context);
  assertEquals(rendered.length, 200 * (4 + 10_000) + 200 * (4 + 9_999));
});
