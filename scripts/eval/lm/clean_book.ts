const START = /\*\*\* ?START OF TH(?:IS|E) PROJECT GUTENBERG EBOOK[\s\S]*?\*\*\*/;
const END = /\*\*\* ?END OF TH(?:IS|E) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg/i;
const STRAIGHT: Record<string, string> = { "“": '"', "”": '"', "‘": "'", "’": "'" };

/** A Project Gutenberg file as training reads it: without header and licence, quotes straight, lines unwrapped. */
export function cleanBook(raw: string): string {
  const start = START.exec(raw);
  const from = start === null ? 0 : start.index + start[0].length;
  const end = END.exec(raw.slice(from));
  const body = raw.slice(from, end === null ? undefined : from + end.index)
    .replace(/[\ufeff\r_]/g, "")
    .replace(/[“”‘’]/g, (quote) => STRAIGHT[quote]);
  const paragraphs = body.split(/\n\s*\n/)
    .map((part) => part.replace(/\s*\n\s*/g, " ").trim())
    .filter((part) => part !== "");
  return paragraphs.join("\n\n") + "\n";
}
