/** A piece of a template: text that stands as it is, or the place of a parameter. */
export type TemplatePiece =
  | { kind: "text"; text: string }
  | { kind: "placeholder"; name: string };

/**
 * Splits a template at its placeholders, `{{name}}` with a plain identifier and no spaces inside; anything else
 * between braces is text. Empty text pieces are left out.
 */
export function parseTemplate(template: string): TemplatePiece[] {
  const pieces: TemplatePiece[] = [];
  let end = 0;
  for (const match of template.matchAll(/\{\{([a-zA-Z_][a-zA-Z0-9_]*)\}\}/g)) {
    if (match.index > end) pieces.push({ kind: "text", text: template.slice(end, match.index) });
    pieces.push({ kind: "placeholder", name: match[1] });
    end = match.index + match[0].length;
  }
  if (end < template.length) pieces.push({ kind: "text", text: template.slice(end) });
  return pieces;
}
