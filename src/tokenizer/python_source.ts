import { tokenize } from "@huggingface/jinja";

type Token = ReturnType<typeof tokenize>[number];

/** Begins the name of a filter that stands for a test with an argument. */
export const TEST = "is ";

/** Tests that take an argument, which may stand without parentheses. */
const WITH_ARGUMENT = new Set([
  ...["divisibleby", "sameas", "in", "eq", "equalto", "ne", "lt", "lessthan", "le"],
  ...["gt", "greaterthan", "ge"],
]);
const SIMPLE = new Set(["NumericLiteral", "StringLiteral", "Identifier"]);

/**
 * The tokens of a template for the engine's parser, with what that does not know written otherwise: `raw` blocks as texts, and tests with an argument as filters,
 * which bind alike. Line breaks are those of Unix.
 */
export function pythonTokens(source: string): Token[] {
  const tokens = tokenize(withoutIndents(withoutRaw(source.replace(/\r\n?/g, "\n"))));
  const made: Token[] = [];
  const add = (type: Token["type"], value: string) => made.push({ type, value });
  for (let i = 0; i < tokens.length; i++) {
    const negated = isName(tokens[i + 1], "not");
    const at = i + (negated ? 2 : 1);
    const [name, next, after] = tokens.slice(at, at + 3);
    const isTest = isName(tokens[i], "is") && tokens[i - 1]?.type !== "Dot" &&
      name?.type === "Identifier";
    const called = next?.type === "OpenParen";
    const bare = WITH_ARGUMENT.has(name?.value) && SIMPLE.has(next?.type) &&
      !["OpenSquareBracket", "Dot"].includes(after?.type);
    if (!isTest || !called && !bare) {
      made.push(tokens[i]);
      continue;
    }
    add("Pipe", "|");
    add("Identifier", `${TEST}${negated ? "not " : ""}${name.value}`);
    if (called) i = at;
    else {
      add("OpenParen", "(");
      made.push(next);
      add("CloseParen", ")");
      i = at + 1;
    }
  }
  return made;
}

function isName(token: Token | undefined, name: string): boolean {
  return token?.type === "Identifier" && token.value === name;
}

/** `source` without the indents before blocks and comments and one line break behind each, but where a plus keeps them. */
function withoutIndents(source: string): string {
  return source
    .replace(/(?<=^|\n)[ \t]*(?=\{(?:%(?!\+)|#(?!\+)))/g, "")
    .replace(/(?<!\+)([%#]\})\n/g, "$1")
    .replace(/(\{[%#])\+|\+([%#]\})/g, "$1$2");
}

/** `source` with each `raw` block as a block that prints its text. Those within comments are none. */
function withoutRaw(source: string): string {
  const open = /\{%(?<before>[-+]?)\s*raw\s*(?<start>[-+]?)%\}/.source;
  const close = /(?<indent>(?<=\n)[ \t]*)?\{%(?<end>[-+]?)\s*endraw\s*(?<after>[-+]?)%\}/.source;
  const block = new RegExp(`\\{#[^]*?#\\}|${open}(?<text>[^]*?)${close}`, "g");
  return source.replace(block, (whole, ...rest) => {
    const { before, start, text, indent, end, after } = rest.at(-1) as Record<string, string>;
    if (text === undefined) return whole;
    const first = start === "-" ? text.trimStart() : text.replace(/^\n/, "");
    const kept = end === "-" ? first.trimEnd() : end === "+" ? first + (indent ?? "") : first;
    return `{%${before} if true %}{{ ${JSON.stringify(kept)} }}{% endif ${after}%}`;
  });
}
