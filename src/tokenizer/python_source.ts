import { tokenize } from "@huggingface/jinja";

type Token = ReturnType<typeof tokenize>[number];

/** Begins the name of a filter that stands for a test with an argument. */
export const TEST = "is ";

/** Tests that take an argument, which may stand without parentheses. */
const WITH_ARGUMENT = new Set([
  ...["divisibleby", "sameas", "in", "eq", "equalto", "ne", "lt", "lessthan", "le"],
  ...["gt", "greaterthan", "ge"],
]);
/** Characters of a template at most: those of models have less than 100,000. */
const MOST_CHARACTERS = 1 << 20;
/** Blanks in a row at most. The engine reads a row in time that grows with its square: 1 MiB of such rows takes it 1 s. */
const MOST_BLANKS = 500;
const SIMPLE = new Set(["NumericLiteral", "StringLiteral", "Identifier"]);

/**
 * The tokens of a template for the engine's parser, with what that does not know written otherwise: `raw` blocks as texts, and tests with an argument as filters,
 * which bind alike. Line breaks are those of Unix. Throws `RangeError` for a template that would take long to read.
 */
export function pythonTokens(source: string): Token[] {
  checkLength(source);
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

function checkLength(source: string): void {
  if (source.length > MOST_CHARACTERS) {
    throw new RangeError(`${source.length} characters, expected at most ${MOST_CHARACTERS}`);
  }
  for (const { 0: { length }, index } of source.matchAll(/\s+/g)) {
    if (length <= MOST_BLANKS) continue;
    throw new RangeError(
      `${length} blanks in a row from character ${index}, expected at most ${MOST_BLANKS}`,
    );
  }
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
  const opening = /\{#|\{%(?<before>[-+]?)\s*raw\s*(?<start>[-+]?)%\}/g;
  const closings = {
    comment: /#\}/g,
    raw: /(?<indent>(?<=\n)[ \t]*)?\{%(?<end>[-+]?)\s*endraw\s*(?<after>[-+]?)%\}/g,
  };
  // Looked for no more once there is none: of what is never closed there may be as much as there is text.
  const lacking = new Set<string>();
  let made = "";
  let copied = 0;
  for (let open = opening.exec(source); open; open = opening.exec(source)) {
    const kind = open[0] === "{#" ? "comment" : "raw";
    if (lacking.has(kind)) continue;
    const from = opening.lastIndex;
    closings[kind].lastIndex = from;
    const close = closings[kind].exec(source);
    if (!close) {
      lacking.add(kind);
      continue;
    }
    opening.lastIndex = closings[kind].lastIndex;
    if (kind === "comment") continue;
    const { before, start } = open.groups!;
    const { indent, end, after } = close.groups!;
    const text = source.slice(from, close.index);
    const first = start === "-" ? text.trimStart() : text.replace(/^\n/, "");
    const kept = end === "-" ? first.trimEnd() : end === "+" ? first + (indent ?? "") : first;
    const block = `{%${before} if true %}{{ ${JSON.stringify(kept)} }}{% endif ${after}%}`;
    made += source.slice(copied, open.index) + block;
    copied = opening.lastIndex;
  }
  return made + source.slice(copied);
}
