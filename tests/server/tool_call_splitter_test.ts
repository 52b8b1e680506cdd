import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type AnswerPart,
  type SplitterOptions,
  ToolCallSplitter,
} from "../../src/server/tool_call_splitter.ts";

interface Split {
  content: string;
  calls: { name: string; arguments: string }[];
  complete: boolean;
}

const names = new Set(["get", "put-it"]);

function split(pieces: readonly string[], options: Partial<SplitterOptions> = {}): Split {
  const splitter = new ToolCallSplitter({
    form: "hermes",
    names,
    most: Infinity,
    constrained: false,
    required: false,
    ...options,
  });
  const parts: AnswerPart[] = [...pieces.flatMap((piece) => splitter.push(piece))];
  parts.push(...splitter.finish());
  const result: Split = { content: "", calls: [], complete: splitter.complete };
  for (const part of parts) {
    assert(part.type === "call" || part.text !== "", "an empty part");
    if (part.type === "content") result.content += part.text;
    else if (part.type === "call") result.calls.push({ name: part.name, arguments: "" });
    else result.calls.at(-1)!.arguments += part.text;
  }
  return result;
}

const call = (name: string, values: string, key = "arguments") =>
  `{"name": "${name}", "${key}": ${values}}`;
const tagged = (body: string) => `<tool_call>\n${body}\n</tool_call>`;

/** Text, form, what it is, and what it is where it is known to be well-formed if that differs. */
const cases: [SplitterOptions["form"], string, Omit<Split, "complete">, boolean?][] = [
  ["hermes", "Just text.\n", { content: "Just text.\n", calls: [] }],
  ["hermes", " \n", { content: " \n", calls: [] }],
  ["hermes", "a < b <tool b <tool_call", { content: "a < b <tool b <tool_call", calls: [] }],
  ["hermes", tagged(call("get", "{}")), {
    content: "",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["hermes", `Let me see. \n${tagged(call("get", '{"a": "}{\\"</tool_call>"}'))}`, {
    content: "Let me see.",
    calls: [{ name: "get", arguments: '{"a": "}{\\"</tool_call>"}' }],
  }],
  ["hermes", `${tagged(call("get", '{"a": 1}'))}\n${tagged(call("put-it", "{}"))}\n`, {
    content: "",
    calls: [{ name: "get", arguments: '{"a": 1}' }, { name: "put-it", arguments: "{}" }],
  }],
  ["hermes", `One\n${tagged(call("get", "{}"))}\n two`, {
    content: "One\n two",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["hermes", `${tagged(call("get", '{"n": 12345678901234567890}'))}`, {
    content: "",
    calls: [{ name: "get", arguments: '{"n": 12345678901234567890}' }],
  }],
  ["mistral", `[TOOL_CALLS] [${call("get", '{"a": ["]"]}')}, ${call("put-it", "{}")}]`, {
    content: "",
    calls: [{ name: "get", arguments: '{"a": ["]"]}' }, { name: "put-it", arguments: "{}" }],
  }],
  ["mistral", `Well [TOOL [1] [TOOL_CALLS][${call("get", "{}")}] bye`, {
    content: "Well [TOOL [1] bye",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["llama", call("get", '{"a": {"b": 1}}', "parameters"), {
    content: "",
    calls: [{ name: "get", arguments: '{"a": {"b": 1}}' }],
  }],
  ["llama", ` <|python_tag|>${call("get", "{}", "parameters")}`, {
    content: "",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["llama", `It is ${call("get", "{}", "parameters")}`, {
    content: `It is ${call("get", "{}", "parameters")}`,
    calls: [],
  }],
  ["llama", ' {"temperature": {"x": 1}} C ', {
    content: ' {"temperature": {"x": 1}} C ',
    calls: [],
  }],
  ["llama", "<|pyth", { content: "<|pyth", calls: [] }],
];

/** Only where nothing is known of the text. */
const free: typeof cases = [
  ["hermes", tagged('{"arguments": {"a": 1}, "name": "get"}'), {
    content: "",
    calls: [{ name: "get", arguments: '{"a":1}' }],
  }],
  ["hermes", tagged('{"name": "get", "arguments": "{\\"a\\": 1}"}'), {
    content: "",
    calls: [{ name: "get", arguments: '{"a":1}' }],
  }],
  ["hermes", tagged('{"name": "get"}'), { content: "", calls: [{ name: "get", arguments: "{}" }] }],
  ["hermes", `<tool_call>${call("get", "{}")}`, {
    content: "",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["hermes", tagged(call("other", "{}")), { content: tagged(call("other", "{}")), calls: [] }],
  ["hermes", tagged('{"name": "get", "arguments": {a}}'), {
    content: tagged('{"name": "get", "arguments": {a}}'),
    calls: [],
  }],
  ["hermes", tagged('{"name": "get", "arguments": [1]}'), {
    content: tagged('{"name": "get", "arguments": [1]}'),
    calls: [],
  }],
  ["hermes", 'x <tool_call>\n{"name": "get", "arg', {
    content: 'x <tool_call>\n{"name": "get", "arg',
    calls: [],
  }],
  ["hermes", `<tool_call> no <tool_call>${call("get", "{}")}</tool_call>`, {
    content: "<tool_call> no",
    calls: [{ name: "get", arguments: "{}" }],
  }],
  ["mistral", "[TOOL_CALLS] none", { content: "[TOOL_CALLS] none", calls: [] }],
  ["llama", '{"type": "function", "name": "get", "parameters": {"a": 1}}', {
    content: "",
    calls: [{ name: "get", arguments: '{"a":1}' }],
  }],
];

Deno.test("ToolCallSplitter finds calls of every form, and takes what is none as text", () => {
  for (const constrained of [false, true]) {
    for (const [form, text, expected] of [...cases, ...(constrained ? [] : free)]) {
      const { complete, ...found } = split([text], { form, constrained });
      assertEquals(found, expected, text);
      assertEquals(complete, expected.calls.length > 0, text);
    }
  }
});

Deno.test("ToolCallSplitter says the same however the text is cut: two pieces everywhere, and characters", () => {
  for (const constrained of [false, true]) {
    for (const [form, text] of [...cases, ...free]) {
      const whole = split([text], { form, constrained });
      for (let at = 0; at <= text.length; at++) {
        const pieces = [text.slice(0, at), text.slice(at)];
        assertEquals(split(pieces, { form, constrained }), whole, `${text} cut at ${at}`);
      }
      assertEquals(split([...text], { form, constrained }), whole, text);
    }
  }
});

Deno.test("ToolCallSplitter: any text in any pieces gives the same, and loses nothing but marks and blanks", () => {
  const fragment = fc.constantFrom(
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "<|python_tag|>",
    call("get", '{"a": "<tool_call>"}'),
    call("put-it", '{"b": [{}]}', "parameters"),
    call("nobody", "{}"),
    '{"name": "get", ',
    '"arguments": {',
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "\\",
    "\n",
    " ",
    "<",
    "text",
  );
  fc.assert(
    fc.property(
      fc.array(fragment, { maxLength: 14 }).map((parts) => parts.join("")),
      fc.array(fc.nat(400), { maxLength: 8 }),
      fc.constantFrom("hermes" as const, "mistral" as const, "llama" as const),
      fc.boolean(),
      fc.constantFrom(1, Infinity),
      (text, cuts, form, constrained, most) => {
        const options = { form, constrained, most };
        const whole = split([text], options);
        const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
        const pieces = [0, ...at].map((from, i) => text.slice(from, at[i] ?? text.length));
        assertEquals(split(pieces, options), whole);
        assertEquals(split([...text], options), whole);
        assert(whole.calls.length <= most);
        if (whole.calls.length === 0 && !constrained) assertEquals(whole.content, text);
        assert(!constrained || text.startsWith(whole.content) || whole.calls.length > 0);
        if (!constrained) { for (const { arguments: json } of whole.calls) JSON.parse(json); }
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("ToolCallSplitter: where calls begin a text or are none, a mark within another is text, wherever it is cut", () => {
  for (const form of ["hermes", "mistral"] as const) {
    const options = { form, constrained: true, leading: true };
    const texts = [
      '{"a": "<tool_call>\\n{\\"name\\": \\"get\\"}"}',
      '["<tool_call>", "[TOOL_CALLS]", "[TOOL_CALLS][{"]',
      '"<tool_c',
    ];
    for (const whole of texts) {
      for (let length = 0; length <= whole.length; length++) {
        const text = whole.slice(0, length);
        for (const pieces of [[text], [...text]]) {
          assertEquals(split(pieces, options), { content: text, calls: [], complete: false });
        }
      }
    }
    const two = [call("get", '{"a": "<tool_call>"}'), call("put-it", "{}")];
    const calls = form === "hermes"
      ? two.map(tagged).join("\n")
      : `[TOOL_CALLS] [${two.join(", ")}]`;
    for (const pieces of [[calls], [...calls], [` \n${calls}`], [..." \n", ...calls]]) {
      assertEquals(split(pieces, options), {
        content: "",
        calls: [{ name: "get", arguments: '{"a": "<tool_call>"}' }, {
          name: "put-it",
          arguments: "{}",
        }],
        complete: true,
      });
    }
  }
});

Deno.test("ToolCallSplitter passes arguments on as they come where calls are well-formed, and shows no part of a mark", () => {
  const text = `Hm.\n${tagged(call("get", '{"city": "Paris"}'))}`;
  const splitter = new ToolCallSplitter({
    form: "hermes",
    names,
    most: Infinity,
    constrained: true,
    required: false,
  });
  const seen: string[] = [];
  for (const c of text) {
    for (const part of splitter.push(c)) {
      seen.push(part.type === "call" ? `#${part.name}` : part.text);
    }
  }
  assertEquals(seen.join("|"), `H|m|.|#get|${[...'{"city": "Paris"}'].join("|")}`);
  const cut = split([text.slice(0, text.indexOf("ris"))], { constrained: true });
  assertEquals(cut, {
    content: "Hm.",
    calls: [{ name: "get", arguments: '{"city": "Pa' }],
    complete: false,
  });
  const head = text.slice(0, text.indexOf(', "arg'));
  assertEquals(split([head]), { content: head, calls: [], complete: false });
  assertEquals(split([head], { constrained: true }).content, "Hm.\n");
});

Deno.test("ToolCallSplitter leaves out what a required call was cut after, wherever that was before its name", () => {
  const texts: [SplitterOptions["form"], string, string][] = [
    ["hermes", '<tool_call>\n{"name": "', `${tagged(call("get", "{}"))}\n`],
    ["mistral", '[TOOL_CALLS] [{"name": "', `[TOOL_CALLS] [${call("get", "{}")}, `],
    ["llama", '{"name": "', ""],
    ["llama", ' <|python_tag|> {"name": "', ""],
  ];
  for (const [form, mark, before] of texts) {
    const next = form === "mistral" && before !== "" ? mark.slice(mark.indexOf("{")) : mark;
    for (const [start, beginning, calls] of [["", mark, 0], [before, next, 1]] as const) {
      if (calls === 1 && before === "") continue;
      for (let length = 0; length <= beginning.length; length++) {
        const text = start + beginning.slice(0, length);
        for (const pieces of [[text], [...text]]) {
          const got = split(pieces, { form, constrained: true, required: true });
          assertEquals([got.content, got.calls.length], ["", calls], JSON.stringify(text));
        }
      }
    }
  }
  // Where text may stand instead, a beginning of a mark is text.
  assertEquals(split(["<tool_call"], { constrained: true }).content, "<tool_call");
});
