/**
 * Puts a shader together from `.wgsl` fragments and unrolls its marked regions.
 *
 * Inner tiles must be straight-line code (naga bounds every loop and cannot keep indexed arrays in registers), so a region
 *
 *     //#for r in 0..ROWS
 *     var acc_#r = vec4<f32>(0.0);
 *     //#end
 *
 * is repeated with `#r` replaced by 0, 1, …; `#(r * 4 + 1)` is replaced by the value of the expression. Regions nest. Bounds and
 * expressions may use the counters of enclosing regions and the constants given by the kernel's host half. Everything else in the
 * file is plain WGSL; this is the project's only text substitution.
 * @module
 */

/** A named piece of WGSL: a file of `shaders/`, or a prelude made by a host half. */
export interface ShaderFragment {
  name: string;
  source: string;
}

/** Where a line of an assembled shader came from. */
export interface SourceLine {
  fragment: string;
  line: number;
}

/** A storage or uniform binding as the WGSL declares it. */
export interface ShaderBinding {
  binding: number;
  name: string;
  type: GPUBufferBindingType;
}

/** A shader ready to compile. */
export interface Shader {
  label: string;
  code: string;
  /** Origin of each line of `code`. */
  lines: SourceLine[];
  /** Bindings of group 0, by index. */
  bindings: ShaderBinding[];
}

/** Integers that regions and expressions may name. */
export type ShaderConstants = Readonly<Record<string, number>>;

/**
 * Concatenates fragments, expanding their regions.
 * @throws {SyntaxError} for an unclosed region or a bad expression, naming fragment and line.
 */
export function assembleShader(
  label: string,
  fragments: readonly ShaderFragment[],
  constants: ShaderConstants = {},
): Shader {
  const code: string[] = [];
  const lines: SourceLine[] = [];
  for (const fragment of fragments) {
    const source = fragment.source.split("\n").map((text, index) => ({ text, line: index + 1 }));
    expand(fragment.name, source, new Map(Object.entries(constants)), (text, line) => {
      code.push(text);
      lines.push({ fragment: fragment.name, line });
    });
  }
  const text = code.join("\n");
  return { label, code: text, lines, bindings: readBindings(label, text) };
}

interface Line {
  text: string;
  line: number;
}

type Scope = Map<string, number>;

const forPattern = /^\s*\/\/#for\s+([a-z]\w*)\s+in\s+(.+?)\.\.(.+?)\s*$/;
const endPattern = /^\s*\/\/#end\s*$/;

function expand(
  fragment: string,
  lines: Line[],
  scope: Scope,
  emit: (text: string, line: number) => void,
): void {
  for (let i = 0; i < lines.length; i++) {
    const { text, line } = lines[i];
    const loop = forPattern.exec(text);
    if (!loop) {
      if (endPattern.test(text) || /^\s*\/\/#/.test(text)) {
        throw new SyntaxError(
          `expand shader ${fragment}:${line}: ${text.trim()} stands outside a region or is unknown`,
        );
      }
      emit(substitute(fragment, line, text, scope), line);
      continue;
    }
    const end = matchingEnd(fragment, lines, i);
    const [, counter, low, high] = loop;
    if (scope.has(counter)) {
      throw new SyntaxError(
        `expand shader ${fragment}:${line}: counter ${counter} is already in use`,
      );
    }
    const body = lines.slice(i + 1, end);
    const last = evaluate(fragment, line, high, scope);
    for (let value = evaluate(fragment, line, low, scope); value < last; value++) {
      expand(fragment, body, new Map(scope).set(counter, value), emit);
    }
    i = end;
  }
}

function matchingEnd(fragment: string, lines: Line[], start: number): number {
  let depth = 0;
  for (let i = start; i < lines.length; i++) {
    if (forPattern.test(lines[i].text)) depth++;
    else if (endPattern.test(lines[i].text) && --depth === 0) return i;
  }
  throw new SyntaxError(
    `expand shader ${fragment}:${lines[start].line}: region is never closed, expected //#end`,
  );
}

/** Replaces `#name` and `#( … )`; a `#` before anything else stands for itself. */
function substitute(fragment: string, line: number, text: string, scope: Scope): string {
  let result = "";
  let at = 0;
  for (let hash = text.indexOf("#"); hash >= 0; hash = text.indexOf("#", at)) {
    result += text.slice(at, hash);
    const marker = text.slice(hash + 1);
    const name = /^[a-zA-Z][a-zA-Z0-9]*/.exec(marker)?.[0];
    if (name) {
      result += evaluate(fragment, line, name, scope);
      at = hash + 1 + name.length;
    } else if (marker.startsWith("(")) {
      const length = closingParenthesis(marker) + 1;
      if (length === 0) {
        throw new SyntaxError(`expand shader ${fragment}:${line}: missing ) in "#${marker}"`);
      }
      result += evaluate(fragment, line, marker.slice(1, length - 1), scope);
      at = hash + 1 + length;
    } else {
      result += "#";
      at = hash + 1;
    }
  }
  return result + text.slice(at);
}

/** Index of the parenthesis that closes the one at 0, or -1. */
function closingParenthesis(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    else if (text[i] === ")" && --depth === 0) return i;
  }
  return -1;
}

/** Integer arithmetic on names: + - * / % and parentheses; `/` rounds down. */
function evaluate(fragment: string, line: number, expression: string, scope: Scope): number {
  const tokens = expression.match(/\d+|[a-zA-Z_]\w*|\S/g) ?? [];
  let at = 0;
  const bad = (why: string) =>
    new SyntaxError(`expand shader ${fragment}:${line}: ${why} in "${expression}"`);
  const primary = (): number => {
    const token = tokens[at++];
    if (token === "(") {
      const value = sum();
      if (tokens[at++] !== ")") throw bad("missing )");
      return value;
    }
    if (token === "-") return -primary();
    if (token !== undefined && /^\d+$/.test(token)) return Number(token);
    const value = token === undefined ? undefined : scope.get(token);
    if (value === undefined) throw bad(`unknown name ${token}`);
    return value;
  };
  const product = (): number => {
    let value = primary();
    while (tokens[at] === "*" || tokens[at] === "/" || tokens[at] === "%") {
      const operator = tokens[at++];
      const right = primary();
      value = operator === "*"
        ? value * right
        : operator === "/"
        ? Math.floor(value / right)
        : value % right;
    }
    return value;
  };
  const sum = (): number => {
    let value = product();
    while (tokens[at] === "+" || tokens[at] === "-") {
      value = tokens[at++] === "+" ? value + product() : value - product();
    }
    return value;
  };
  const value = sum();
  if (at !== tokens.length || !Number.isInteger(value)) throw bad("not an integer expression");
  return value;
}

function readBindings(label: string, code: string): ShaderBinding[] {
  const pattern =
    /@group\((\d+)\)\s*@binding\((\d+)\)\s*var<(storage|uniform)\s*(?:,\s*(read_write|read))?\s*>\s*(\w+)/g;
  const bindings: ShaderBinding[] = [];
  for (const [, group, binding, space, access, name] of code.matchAll(pattern)) {
    if (group !== "0") {
      throw new SyntaxError(`read bindings of ${label}: ${name} is in group ${group}, expected 0`);
    }
    const type = space === "uniform"
      ? "uniform"
      : access === "read_write"
      ? "storage"
      : "read-only-storage";
    if (bindings.some((other) => other.binding === Number(binding))) {
      throw new SyntaxError(`read bindings of ${label}: binding ${binding} is declared twice`);
    }
    bindings.push({ binding: Number(binding), name, type });
  }
  return bindings.sort((a, b) => a.binding - b.binding);
}
