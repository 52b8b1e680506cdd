import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { strftime } from "../../src/tokenizer/strftime.ts";
import { bpeGolden, bpeTokenizer } from "./fixtures.ts";

const chatml = "{{ bos_token }}{% for message in messages %}" +
  "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' + '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const context = { addGenerationPrompt: true, bosToken: "<s>", eosToken: "</s>" };
const [bos, imStart, imEnd] = [0, 1, 2].map((i) => bpeGolden.tokens.length + i);

Deno.test("ChatTemplate renders messages with the tokens and flags that templates use", () => {
  const template = new ChatTemplate(chatml, "test.gguf");
  const messages = [{ role: "system", content: " Be brief. " }, { role: "user", content: "Hi" }];
  assertEquals(
    template.render(messages, context),
    "<s><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
  );
  assertEquals(template.render([], { ...context, addGenerationPrompt: false }), "<s>");
});

Deno.test("ChatTemplate offers strftime_now, namespaces, filters and tests", () => {
  const render = (source: string) => new ChatTemplate(source, "test.gguf").render([], context);
  assertEquals(/^\d{4}-\d\d$/.test(render("{{ strftime_now('%Y-%m') }}")), true);
  assertEquals(
    render(
      "{% set ns = namespace(n=1) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    ),
    "4",
  );
  assertEquals(render("{{ thinking is defined }} {{ 'a,b'.split(',')[1] | upper }}"), "False B");
});

Deno.test("ChatTemplate gives templates none for tools and documents that there are not, as Transformers does", () => {
  // Mistral 7B v0.3's template asks so, and nothing else.
  const source =
    "{% for message in messages %}{% if tools is not none %}[AVAILABLE_TOOLS]{% endif %}" +
    "{{ message.content }}{% endfor %}{{ tools is defined }} {{ documents is none }}";
  const template = new ChatTemplate(source, "test.gguf");
  const messages = [{ role: "user", content: "Hi" }];
  for (const tools of [undefined, []]) {
    assertEquals(template.render(messages, { ...context, tools }), "HiTrue True");
  }
});

Deno.test("ChatTemplate puts a system message into the first turn where a template does so, as Gemma's", () => {
  const source = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}" +
    "{% set before = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}" +
    "{% else %}{% set before = '' %}{% set turns = messages %}{% endif %}{% for message in turns %}" +
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns') }}{% endif %}" +
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}" +
    "{{ before if loop.first else '' }}{% if message['content'] is string %}{{ message['content'] | trim }}" +
    "{% elif message['content'] is iterable %}{% for part in message['content'] %}{{ part['text'] | trim }}{% endfor %}{% endif %}" +
    "{{ '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
  const template = new ChatTemplate(source, "test.gguf");
  const [system, user, assistant] = ["system", "user", "assistant"].map((role) => ({
    role,
    content: `${role} says `,
  }));
  assertEquals(
    template.render([system, user, assistant, user], context),
    "<s><start_of_turn>user\nsystem says \n\nuser says<end_of_turn>\n" +
      "<start_of_turn>model\nassistant says<end_of_turn>\n<start_of_turn>user\nuser says<end_of_turn>\n<start_of_turn>model\n",
  );
  assertThrows(() => template.render([user, user], context), TypeError, "roles must take turns");
});

Deno.test("ChatTemplate keeps line breaks at the template's start", () => {
  assertEquals(new ChatTemplate("\n\na", "test.gguf").render([], context), "\n\na");
});

Deno.test("ChatTemplate strips the characters that a template names, as Python does, and no others", () => {
  const render = (source: string) =>
    new ChatTemplate(source, "test.gguf")
      .render([{ role: "assistant", content: "<think>\nx\n</think>\n\n    indented\n" }], context);
  // As Qwen 3 and SmolLM3 take the thoughts of earlier turns out.
  assertEquals(
    render(
      "{%- set content = messages[0].content %}{{- content.split('</think>')[-1].lstrip('\\n') }}",
    ),
    "    indented\n",
  );
  assertEquals(render("{{ ' x\\n\\n'.rstrip('\\n') }}|{{ 'xxay'.strip('yx') }}"), " x|a");
  assertEquals(render("{{ '😀 a😀😀'.strip('😀') }}|{{ '\ud83d😀'.lstrip('😀') }}"), " a|\ud83d😀");
  assertEquals(
    render("{{ ' x '.strip() }}|{{ ' x '.strip(none) }}|{{ ''.rstrip('a') }}|"),
    "x|x||",
  );
});

Deno.test("ChatTemplate writes lists and mappings as Python does where a template prints them", () => {
  const parameters = {
    type: "object",
    properties: { "it's": { default: 0.5, n: [1, null, true] } },
  };
  const tools = [{ name: "f", description: 'a "b"\n\u00a0é', parameters }];
  const render = (source: string) =>
    new ChatTemplate(source, "test.gguf").render([], { ...context, tools });
  const written =
    `{'type': 'function', 'function': {'name': 'f', 'description': 'a "b"\\n\\xa0é', ` +
    `'parameters': {'type': 'object', 'properties': {"it's": {'default': 0.5, 'n': [1, None, True]}}}}}`;
  // SmolLM3's template writes its tools by the first of these.
  assertEquals(
    render("{% for tool in tools %}{{ '' ~ (tool | string) ~ '.' }}{% endfor %}"),
    `${written}.`,
  );
  assertEquals(
    render("{% for tool in tools %}{{ tool }}{{ '' ~ tool }}{% endfor %}"),
    written + written,
  );
  assertEquals(
    render("{% for tool in tools %}{{ tool | tojson }}{% endfor %}").slice(0, 9),
    '{"type": ',
  );
  assertEquals(
    render(
      "{% set x = 6 / 2 %}{{ x }} {{ x | string }} {{ 1 | string }} {{ no_such_name }}|{{ none | string }}|{{ 'a' ~ none_such ~ x }}",
    ),
    "3.0 3.0 1 |None|a3.0",
  );
  // A call is made once, whatever is made of its result.
  assertEquals(
    render(
      "{% set n = namespace(i=0) %}{% macro next() %}{% set n.i = n.i + 1 %}{{ n.i }}{% endmacro %}" +
        "{{ next() }}{{ next() ~ '' }}{{ next() | string }}{{ {'a': next()}['a'] ~ {'b': [next()]} }}",
    ),
    "1234{'b': ['5']}",
  );
  assertEquals(
    render("{{ tools[0].function.get('parameters').type }}{{ {'a': [1]}.get('a') }}"),
    "object[1]",
  );
  assertEquals(render("{{ {'a': ['x']}.get('a') ~ {'a': 'y'}.get('a') }}"), "['x']y");
  assertEquals(
    render("{% set x = ('a', 1) %}{% set y = {'t': x, 'u': (1, x)} %}{{ y }}"),
    "{'t': ('a', 1), 'u': (1, ('a', 1))}",
  );
});

Deno.test("ChatTemplate compares values as Python does", () => {
  const yes = [
    "'' != false",
    "'' != 0",
    "'1' != 1",
    "true == 1",
    "1 == 1.0",
    "[1, ['a']] == [1, ['a']]",
    "[] == []",
    "[1] != [2]",
    "{'a': [1]} == {'a': [1]}",
    "{'a': 1} != {'b': 1}",
    "[] != {}",
    "no_such != none",
    "none == none",
    "None == none",
    "none != ''",
    "messages[0] == messages[1]",
    "messages[0] != messages[2]",
    "'x' in 'xy'",
    "true in [1]",
    "[1] in [[1]]",
    "none in [1, none]",
    "no_such not in [1]",
    "1 not in {'a': 1}",
    "'a' in {'a': 1}",
    "'a' not in no_such",
  ];
  const messages = ["a", "a", "b"].map((content) => ({ role: "user", content }));
  for (const condition of yes) {
    const template = new ChatTemplate(`{{ 1 if ${condition} else 0 }}`, "test.gguf");
    assertEquals(template.render(messages, context), "1", condition);
  }
  const wrong = new ChatTemplate("{{ 1 in 'a1' }}", "test.gguf");
  assertThrows(() => wrong.render([], context), ModelFormatError, "number in string");
});

Deno.test("ChatTemplate reads line breaks of any system as Python does", () => {
  const source = "a\r\n{% if true %}\r\nb{{ 'c\r\nd' }}\r{% endif %}\r\ne";
  assertEquals(new ChatTemplate(source, "test.gguf").render([], context), "a\nbc\nd\ne");
});

Deno.test("ChatTemplate strips the indentation of a block at the template's start", () => {
  assertEquals(
    new ChatTemplate("  {% if true %}x{% endif %}", "test.gguf").render([], context),
    "x",
  );
});

Deno.test("ChatTemplate tells a template's refusal from its failure", () => {
  const refusing = new ChatTemplate("{{ raise_exception('roles must alternate') }}", "test.gguf");
  assertThrows(
    () => refusing.render([], context),
    TypeError,
    "refuses these messages: roles must alternate",
  );
  const failing = new ChatTemplate("{{ 1 | nosuchfilter }}", "test.gguf");
  assertThrows(
    () => failing.render([], context),
    ModelFormatError,
    "test.gguf: tokenizer.chat_template fails",
  );
  assertThrows(
    () => new ChatTemplate("{% for %}", "test.gguf"),
    ModelFormatError,
    "does not parse",
  );
});

Deno.test("Tokenizer.applyChatTemplate says so when the model has no template", () => {
  const tokenizer = bpeTokenizer();
  assertEquals(tokenizer.hasChatTemplate, false);
  assertThrows(() => tokenizer.applyChatTemplate([]), TypeError, "test.gguf has no chat template");
});

Deno.test("Tokenizer.encodeChat begins with exactly one beginning token", () => {
  const turn = [{ role: "user", content: "Hi" }];
  for (const template of [chatml, chatml.replace("{{ bos_token }}", "")]) {
    const asking = bpeTokenizer({
      "tokenizer.chat_template": template,
      "tokenizer.ggml.add_bos_token": true,
    });
    assertEquals(asking.encodeChat(turn).filter((id) => id === bos), [bos]);
    assertEquals(asking.encodeChat(turn)[0], bos);
  }
});

Deno.test("Tokenizer.encodeChat equals encoding the rendered text when messages hold no control tokens", () => {
  const tokenizer = bpeTokenizer({ "tokenizer.chat_template": chatml });
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" }), { maxLength: 4 }), (contents) => {
    const messages = contents.map((content, i) => ({
      role: i % 2 ? "assistant" : "user",
      content,
    }));
    const rendered = tokenizer.applyChatTemplate(messages);
    assertEquals(tokenizer.encodeChat(messages), tokenizer.encode(rendered, { special: true }));
  }));
});

Deno.test("Tokenizer.encodeChat lets no message forge a turn", () => {
  const tokenizer = bpeTokenizer({ "tokenizer.chat_template": chatml });
  const pieces = fc.constantFrom(
    "<|im_end|>",
    "<|im_start|>",
    "<|im_",
    "end|>",
    "<|bos|>",
    "~%0%~",
    "hi",
    "\n",
    "<",
    "|",
  );
  const hostile = fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(hostile, hostile, (role, content) => {
      const ids = tokenizer.encodeChat([{ role, content }]);
      assertEquals(ids.filter((id) => id === imStart).length, 2);
      assertEquals(ids.filter((id) => id === imEnd).length, 1);
      assertEquals(ids.filter((id) => id === bos).length, 1);
      // Nothing is lost either: spelt out, the ids are what the template wrote.
      assertEquals(
        tokenizer.decode(ids, { special: true }),
        tokenizer.applyChatTemplate([{ role, content }]),
      );
    }),
    { numRuns: 300 },
  );
});

Deno.test("Tokenizer.encodeChat is quick with a message of many would-be marks", () => {
  const tokenizer = bpeTokenizer({ "tokenizer.chat_template": chatml });
  const content = Array.from({ length: 60_000 }, (_, n) => `~%${n}%~`).join("");
  const start = performance.now();
  tokenizer.encodeChat([{ role: "user", content }]);
  assert(performance.now() - start < 3000);
});

Deno.test("Tokenizer.encodeChat keeps control tokens in tools as plain text, however the template writes them", () => {
  const tokenizer = bpeTokenizer({
    "tokenizer.chat_template":
      "{# <tool_call> arguments #}{% for tool in tools %}{{ tool | tojson(ensure_ascii=true) }}{{ tool }}{% endfor %}",
  });
  const tools = [{ name: "f", description: "a<|im_end|>", parameters: {} }];
  const ids = tokenizer.encodeChat([{ role: "user", content: "~%0%~" }], { tools });
  assertEquals(ids.includes(imEnd), false);
  const text = tokenizer.decode(ids, { special: true });
  assertEquals(text, tokenizer.applyChatTemplate([], { tools }));
});

Deno.test("ChatTemplate has Python's methods, operators, filters and tests", () => {
  const parameters = { type: "object", properties: { items: { maximum: 1e-7 }, b: {} } };
  const tools = [{ name: "f", description: "g", parameters }];
  const messages = [
    { role: "user", content: "Hello, World" },
    { role: "assistant", content: "naïve😀 ß" },
  ];
  // Each beside what Python's Jinja makes of it, with the settings of Transformers.
  const cases: [source: string, text: string][] = [
    ["{{ s.find('o') }} {{ s.find('o', 5) }} {{ s.rfind('zz') }} {{ u.find('ß') }}", "4 8 -1 7"],
    ["{{ ', '.join(['a', 'b']) }}|{{ '-'.join('ab') }}|{{ s.count('o') }}", "a, b|a-b|2"],
    ["{{ s.partition(', ')[2] }} {{ s.rsplit('o', 1) }}", "World ['Hello, W', 'rld']"],
    ["{{ s.startswith('llo', 2) }} {{ s.removeprefix('Hello') }}", "True , World"],
    [
      "{{ s.capitalize() }} {{ s | capitalize }} {{ '12'.isdigit() }}",
      "Hello, world Hello, world True",
    ],
    ["{{ 'a\\n\\nb'.splitlines() }} {{ 'x'.center(4, '*') }}", "['a', '', 'b'] *x**"],
    ["{{ -7 % 3 }} {{ 7 % -3 }} {{ -7 // 2 }} {{ -7.5 % 2 }} {{ -2.5 | int }}", "2 -2 -4 0.5 -2"],
    ["{{ 'ab' * 2 }} {{ [0] * 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}", "abab [0, 0] True True"],
    ["{{ 1 is odd }} {{ not '' }} {{ 'zz' not in s }} {{ 1 > 2 }}", "True True True False"],
    ["{{ u | length }} {{ u[5] }} {{ u | first }} {{ s | list | last }}", "8 😀 n d"],
    ["{{ n | select('odd') | list }} {{ n | reject('gt', 1) | list }}", "[3, 1, -5] [1, -5]"],
    [
      "{{ ['a', 'b'] | map('upper') | join(',') }} {{ n | map('string') | list }}",
      "A,B ['3', '1', '2', '-5']",
    ],
    ["{{ n | sum }} {{ n | max }} {{ n | min }} {{ 2.5 | round }}", "1 3 -5 2.0"],
    ["{{ [1, none, true] | join(',') }} {{ ['a', 'A'] | unique | list }}", "1,None,True ['a']"],
    ["{{ messages | selectattr('role', 'in', ['user']) | list | length }}", "1"],
    ["{{ messages | map(attribute='role') | join(' ') }}", "user assistant"],
    ["{{ messages | rejectattr('zz', 'undefined') | list }}", "[]"],
    ["{{ '12abc' | int }} {{ 'x' | int(9) }} {{ 'xxaxx' | trim('x') }}", "0 9 a"],
    // What cannot be a key is no key of a mapping, as a type of several is none in Hermes' template.
    ["{{ {'a': 1}[['a']] is defined }} {{ {'a': 1}[none] is defined }}", "False False"],
    ["{{ nothing | default }}|{{ nothing | d('q') }}|{{ none | default('x') }}", "|q|None"],
    ["{{ 9 is divisibleby(3) }} {{ 2 is not gt 1 }} {{ none is sameas none }}", "True False True"],
    ["{{ {}.get('q') }} {{ true is number }} {{ {} is iterable }}", "None True True"],
    ["{{ 1.0 | tojson }} {{ (1, 2) | tojson }} {{ (1,2) }}", "1.0 [1, 2] (1, 2)"],
    ["{{ {'b': 1, 'C': 2} | tojson(sort_keys=true) }}", '{"C": 2, "b": 1}'],
    ["{{ {'b': [], 'a': [1]} | tojson(indent=2) }}", '{\n  "b": [],\n  "a": [\n    1\n  ]\n}'],
    ["{% for c in 'ab' %}{{ c }}.{% endfor %}{% for x in nothing %}x{% endfor %}", "a.b."],
    ["{% for a, b in [(1, 2)] if a %}{{ a + b }}{% endfor %}", "3"],
    [
      "{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%} {# a #} {%- endraw %}\n|",
      "{{ x }}{% if %}|{# a #}|",
    ],
    ["{# {% raw %} #}{{ s }}{# {% endraw %} #}", "Hello, World"],
    ["{{ dict(a=1) | tojson }} {{ 'a' if false }}", '{"a": 1} '],
    [
      "{% macro f(a) %}{{ kwargs }}{{ varargs | length }}{% endmacro %}{{ f(1, 2, b=3) }}",
      "{'b': 3}1",
    ],
    // Whatever parameters of tools are called.
    [
      "{% for name, p in tools[0].function.parameters.properties.items() %}{{ name }} {{ p }};{% endfor %}",
      "items {'maximum': 1e-07};b {};",
    ],
  ];
  const before = "{% set n = [3, 1, 2, -5] %}{% set s = messages[0].content %}" +
    "{% set u = messages[1].content %}";
  for (const [source, text] of cases) {
    const template = new ChatTemplate(before + source, "test.gguf");
    assertEquals(template.render(messages, { ...context, tools }), text, source);
  }
  for (const source of ["{{ 1 / 0 }}", "{{ 'x'.index('y') }}", "{{ [1] | select('nope') }}"]) {
    const template = new ChatTemplate(source, "test.gguf");
    assertThrows(() => template.render([], context), ModelFormatError, "fails");
  }
});

Deno.test("ChatTemplate runs loops, macros and blocks as Python does", () => {
  // Each beside what Python's Jinja makes of it, with the settings of Transformers.
  const cases: [source: string, text: string][] = [
    // As Seed-OSS and Hy3.
    [
      "{% set g = {512: 'a', 0: 'b'} %}{{ g | dictsort }}{{ g[512] }}{{ g[1] }}{{ 0 in g }}{{ g.get(0) }}{{ g }}",
      "[(0, 'b'), (512, 'a')]aTrueb{512: 'a', 0: 'b'}",
    ],
    ["{{ '<{}|{}>{{}}'.format(1, nothing) }}{{ '{b}{0}'.format(1, b='x') }}", "<1|>{}x1"],
    // What an iteration has printed stays when it is left, from within whatever.
    [
      "{% for x in n %}a{% if x == 1 %}b{% if x %}c{% continue %}{% endif %}{% endif %}{{ x }}{% endfor %}",
      "a3abca2",
    ],
    ["{% for x in n %}a{{ x }}{% if x == 1 %}{% break %}{% endif %};{% endfor %}", "a3;a1"],
    ["{% for x in n %}{% continue %}{% else %}none{% endfor %}", "none"],
    // What an iteration sets, the next does not see.
    ["{% for x in n %}{% if x == 3 %}{% set y = x %}{% endif %}({{ y }}){% endfor %}", "(3)()()"],
    ["{% set y = 9 %}{% for x in n %}{{ y }}{% set y = x %}{{ y }};{% endfor %}", "93;91;92;"],
    ["{% set b %}x{% set y = 1 %}{{ y }}{% endset %}{{ b }}{{ y }}", "x1"],
    ["{% filter upper %}x{% set y = 1 %}{% endfilter %}{{ y }}", "X"],
    // A macro sees what surrounds it, not what surrounds its call.
    [
      "{% macro m() %}[{{ x }}{{ q }}]{% endmacro %}{% set q = 7 %}{% for x in n %}{{ m() }}{% endfor %}",
      "[7][7][7]",
    ],
    [
      "{% macro a() %}{{ caller is defined }}{% endmacro %}{% macro b() %}{{ a() }}{{ caller(1) }}{% endmacro %}" +
      "{% call(x) b() %}{{ x }}{% endcall %}",
      "False1",
    ],
    ["{% macro m(i) %}{{ i }}{% if i %}{{ m(i - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "3210"],
    [
      "{% for x in n %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 2) }};{% endfor %}",
      "aTrue;bTrue;aFalse;",
    ],
    ["{% for a, (b, c) in [(1, 'xy')] %}{{ c }}{{ b }}{{ a }}{% endfor %}", "yx1"],
    ["a\n  {%+ if true +%}\n  b\n  {% endif %}\nc", "a\n  \n  b\nc"],
    ["{% if true %}\n  {- x\n{- y -}\n{% endif %}", "  {- x\n{- y -}\n"],
    // Bounds, and steps backwards past the first.
    [
      "{{ n[none:2] }} {{ n[1:-1:-1] }} {{ n[::-1] }} {{ (1, 2, 3)[1:] }}",
      "[3, 1] [] [2, 1, 3] (2, 3)",
    ],
    [
      "{{ s.split(maxsplit=1) }} {{ s.rsplit(none, 1) }}",
      "['Hi', 'you THERE'] ['Hi you', 'THERE']",
    ],
    ['{{ s.title() }} {{ s | title }} {{ "it\'s" | title }}', "Hi You There Hi You There It's"],
    ["{{ none | upper }}{{ nothing | lower }}{{ 12 | replace('1', 'x') }}", "NONEx2"],
    ["{{ 'a\r\n\nb' | indent(2) }}|{{ 'a' | indent('> ', true) }}", "a\n\n  b|> a"],
    ["{{ [[2, 1], [1, 2]] | sort }} {{ {'b': 1, 'A': 2} | sort }}", "[[1, 2], [2, 1]] ['A', 'b']"],
    [
      "{{ [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}] | sort(attribute='a,b') | map(attribute='b') | list }}",
      "[1, 2]",
    ],
    [
      "{{ '😀'.zfill(3) }} {{ dict([('a', 1)]) }} {{ range(5, 0, -2) | list }}",
      "00😀 {'a': 1} [5, 3, 1]",
    ],
  ];
  for (const [source, text] of cases) {
    const template = new ChatTemplate(
      `{% set n = [3, 1, 2] %}{% set s = 'Hi you THERE' %}${source}`,
      "m",
    );
    assertEquals(template.render([], context), text, source);
  }
});

Deno.test("ChatTemplate ends templates that would take for ever or all memory", () => {
  const grow = (start: string, step: string) =>
    `{% set ns = namespace(x=${start}) %}{% for i in range(99) %}{% set ns.x = ${step} %}{% endfor %}`;
  const cases: [source: string, message: string][] = [
    ["{{ range(1000000000) | length }}", "range: 1000000000 numbers, expected at most 100000"],
    [
      "{% for a in range(100000) %}{% for b in range(100000) %}{% break %}{% endfor %}{% endfor %}",
      "it takes more than",
    ],
    [grow("'x'", "ns.x ~ ns.x"), "it makes a text of more than"],
    [grow("[1]", "ns.x + ns.x"), 'operator "+"'],
    // Little is evaluated, but much is done by it.
    ...["x | upper", "x | replace('', 'y')", "x.split('x')"].map((done): [string, string] => [
      `{% set x = 'x' * 1000000 %}{% for i in range(9999) %}{% set y = ${done} %}{% endfor %}`,
      "it takes more than",
    ]),
    ["{% set x = range(99999) | map('string') | unique %}", "it takes more than"],
    ...["x | tojson | length", "x == y"].map((done): [string, string] => [
      `${grow("[]", "[ns.x, ns.x]")}{% set y = ns.x %}` +
      `${grow("[]", "[ns.x, ns.x]")}{% set x = ns.x %}{{ ${done} }}`,
      "it takes more than",
    ]),
    ["{% break %}", "Break outside of a loop"],
    ["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "call stack"],
  ];
  for (const [source, message] of cases) {
    const template = new ChatTemplate(source, "m");
    assertThrows(() => template.render([], context), ModelFormatError, message);
  }
});

Deno.test("strftime writes dates as C does, in English", () => {
  const date = new Date(2024, 1, 3, 0, 5, 9);
  const cases: [format: string, text: string][] = [
    ["%A, %-d %B %Y", "Saturday, 3 February 2024"],
    ["%a %b %e %H:%M:%S %y", "Sat Feb  3 00:05:09 24"],
    ["%I %p %-I %j %-j", "12 AM 12 034 34"],
    ["%F %T %D %R %u %w", "2024-02-03 00:05:09 02/03/24 00:05 6 6"],
    ["100%% %Q %", "100% %Q %"],
  ];
  for (const [format, text] of cases) assertEquals(strftime(date, format), text);
});
