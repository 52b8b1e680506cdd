/** A call as a model wrote it. */
export interface WrittenCall {
  name: string;
  /** JSON of its arguments, an object, as it was written. */
  arguments: string;
}

const head =
  /^\{[ \t\r\n]*"name"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9_-]*)"[ \t\r\n]*,[ \t\r\n]*"(?:arguments|parameters)"[ \t\r\n]*:[ \t\r\n]*(?=\{)/;

/** The name, and the length of what stands before the arguments, of a call whose text begins with `text`; undefined where it is too short. */
export function callHead(text: string): { name: string; length: number } | undefined {
  const match = text.match(head);
  return match ? { name: match[1], length: match[0].length } : undefined;
}

/** The call that `text` is, whatever the order of its properties; undefined where it is none. */
export function readCall(text: string): WrittenCall | undefined {
  const call = parsed(text);
  if (call === undefined || typeof call.name !== "string") return undefined;
  const value = call.arguments ?? call.parameters ?? {};
  // Some models write the arguments as a string of JSON.
  const inner = typeof value === "string" ? parsed(value) : isObject(value) ? value : undefined;
  if (inner === undefined) return undefined;
  const begin = callHead(text);
  // As it was written where that can be told, since numbers may be more precise than ours.
  const written = begin && text.slice(begin.length, text.lastIndexOf("}")).trimEnd();
  const whole = written !== undefined && parsed(written) !== undefined;
  return { name: call.name, arguments: whole ? written : JSON.stringify(inner) };
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
