import type { Turn } from "../common/few_at_a_time.ts";
import { checkPattern } from "./check_pattern.ts";
import { GraphError } from "./graph_error.ts";
import { extractRegex } from "./regex_extract.ts";

/**
 * A step from one text to another that runs in the server, so that a chain of calls needs no trip to its client.
 * Several are applied in order.
 */
export type Transform =
  /** Without the white space around it. */
  | { kind: "trim" }
  /** The `group` (default 1 when the pattern has one, else 0) of the first match of an ECMAScript pattern. */
  | { kind: "regex"; pattern: string; flags?: string; group?: number | string }
  /** One value of the JSON in the text, by a path such as `$.files[0].name`; strings come out unquoted. */
  | { kind: "json"; path: string }
  /** `template` with each `{{value}}` replaced by the text. */
  | { kind: "template"; template: string };

/** Most transforms of one variable, the longest pattern, path or template, and the longest text that a template makes. */
const limits = { steps: 16, text: 65536, result: 32 * 1024 * 1024 };

/** What looking for JSON in a text costs at most: parses, and characters parsed before the last of them. */
const search = { tries: 256, chars: 4 * 1024 * 1024 };

/** Reads a list of transforms from the wire. Throws `GraphError` (invalid). */
export function parseTransforms(value: unknown): Transform[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > limits.steps) {
    throw new GraphError("invalid", `transforms: expected a list of at most ${limits.steps}`);
  }
  return value.map(parseTransform);
}

function parseTransform(value: unknown): Transform {
  const step = (typeof value === "string" ? { kind: value } : value) as Record<string, unknown>;
  const text = (key: string): string => {
    const field = step[key];
    if (typeof field === "string" && field.length <= limits.text) return field;
    throw new GraphError(
      "invalid",
      `transform ${step.kind}: ${key} must be a string of at most ${limits.text} characters`,
    );
  };
  switch (step?.kind) {
    case "trim":
      return { kind: "trim" };
    case "regex": {
      const flags = step.flags === undefined ? "" : text("flags");
      const pattern = text("pattern");
      try {
        checkPattern(pattern, flags);
      } catch (error) {
        throw new GraphError("invalid", `transform regex: ${(error as Error).message}`);
      }
      const { group } = step;
      if (!isGroup(group)) {
        const met = JSON.stringify(group);
        throw new GraphError(
          "invalid",
          `transform regex: group ${met}, expected a number or a name`,
        );
      }
      return { kind: "regex", pattern, flags, group };
    }
    case "json": {
      const path = text("path");
      parsePath(path);
      return { kind: "json", path };
    }
    case "template":
      return { kind: "template", template: text("template") };
    default:
      throw new GraphError(
        "invalid",
        `transform: got kind ${JSON.stringify(step?.kind)}, expected trim, regex, json or template`,
      );
  }
}

function isGroup(value: unknown): value is number | string | undefined {
  return value === undefined || typeof value === "string" || Number.isInteger(value);
}

/** Applies `transforms` in order. Rejects with `GraphError` (failed) that names the step that found nothing, or with the reason of the turn's signal. */
export async function applyTransforms(
  transforms: readonly Transform[],
  text: string,
  turn?: Turn,
): Promise<string> {
  for (const step of transforms) text = await apply(step, text, turn);
  return text;
}

function apply(step: Transform, text: string, turn?: Turn): string | Promise<string> {
  switch (step.kind) {
    case "trim":
      return text.trim();
    case "template":
      return fillTemplate(step.template, text);
    case "json":
      return readPath(findJson(text), step.path);
    case "regex":
      return extractRegex(text, step.pattern, step.flags ?? "", step.group, turn);
  }
}

/** The JSON value in `text`: all of it, or, as models like to talk around their answers, the first that parses. */
function findJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON as a whole: look for an object or an array in it.
  }
  const last = { "[": text.lastIndexOf("]"), "{": text.lastIndexOf("}") };
  let tries = 0;
  let chars = 0;
  for (const { 0: open, index: start } of text.matchAll(/[[{]/g)) {
    const close = open === "{" ? "}" : "]";
    let end = last[open as "[" | "{"];
    for (; end > start; end = text.lastIndexOf(close, end - 1)) {
      // Each try is linear in the text: without bounds hostile text would cost its square.
      if (tries++ >= search.tries || chars > search.chars) throw noJson();
      chars += end - start;
      try {
        return JSON.parse(text.slice(start, end + 1));
      } catch {
        continue;
      }
    }
  }
  throw noJson();
}

function noJson(): GraphError {
  return new GraphError("failed", "transform json: the text holds no JSON value");
}

function fillTemplate(template: string, text: string): string {
  const pieces = template.split("{{value}}");
  const chars = pieces.join("").length + (pieces.length - 1) * text.length;
  if (chars <= limits.result) return pieces.join(text);
  throw new GraphError(
    "limit",
    `transform template: makes ${chars} characters, expected at most ${limits.result}`,
  );
}

function parsePath(path: string): (string | number)[] {
  const keys: (string | number)[] = [];
  const grammar = /\.([A-Za-z_$][\w$]*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]/y;
  let at = path.startsWith("$") ? 1 : 0;
  if (at === 0 && path !== "" && !path.startsWith("[")) path = "." + path;
  while (at < path.length) {
    grammar.lastIndex = at;
    const match = grammar.exec(path);
    if (!match) throw badPath(path, at);
    if (match[1] !== undefined) keys.push(match[1]);
    else if (match[2] !== undefined) keys.push(Number(match[2]));
    else keys.push(unescaped(match[3], path, at));
    at = grammar.lastIndex;
  }
  return keys;
}

/** A key as JSON writes its text. */
function unescaped(text: string, path: string, at: number): string {
  try {
    return JSON.parse(`"${text}"`);
  } catch {
    throw badPath(path, at);
  }
}

function badPath(path: string, at: number): GraphError {
  return new GraphError(
    "invalid",
    `transform json: path ${JSON.stringify(path)} is not understood at character ${at}`,
  );
}

function readPath(value: unknown, path: string): string {
  for (const key of parsePath(path)) {
    const held = typeof value === "object" && value !== null && Object.hasOwn(value, key);
    if (!held) throw new GraphError("failed", `transform json: no value at ${path}`);
    value = (value as Record<string | number, unknown>)[key];
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}
