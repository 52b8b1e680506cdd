import { type ToolForm, toolMarks } from "../common/tools.ts";
import { JsonObjectScanner } from "./json_object_scanner.ts";
import { callHead, readCall } from "./written_call.ts";

/** A piece of an answer: text, a call that begins, or some of the arguments of the call that began last. */
export type AnswerPart =
  | { type: "content"; text: string }
  | { type: "call"; name: string }
  | { type: "arguments"; text: string };

/** How a model's text is split. */
export interface SplitterOptions {
  form: ToolForm;
  /** Functions that may be called; what calls others is text. */
  names: ReadonlySet<string>;
  /** Calls at most; further ones are text. */
  most: number;
  /** Whether calls are known to be well-formed: their arguments are passed on as they come, otherwise once a call is whole. */
  constrained: boolean;
  /** Whether the text is known to be calls and nothing else: what of it is no call yet is nothing. */
  required: boolean;
  /** Whether calls are known to begin a text if it has any: a mark within other text is text. Not in the `llama` form, where that holds anyway. */
  leading?: boolean;
}

const blank = /[ \t\r\n]/;
const namePart = '{"name":"';
const [, close] = toolMarks.hermes;

/**
 * Splits a text that arrives in pieces into what is said and the calls in it. What could be the beginning of a call is held back until that is
 * decided; how the text is cut into pieces changes nothing but how the parts are. White space around calls is no content. What turns out to be
 * no call is content, as it was written.
 */
export class ToolCallSplitter {
  readonly #options: SplitterOptions;
  readonly #mark: string;
  #state: "text" | "before" | "object" | "after" = "text";
  /** Text not yet decided upon: of the state, from its beginning. */
  #held = "";
  /** What the call that is being read began with, in case that it is none. */
  #raw = "";
  /** White space that is content only if more content follows. */
  #space = "";
  #calls = 0;
  #said = false;
  /** Within an array of calls (`mistral`): whether a comma or the end comes next. */
  #listed = false;
  #scanner = new JsonObjectScanner();
  #scanned = 0;
  /** Where the arguments of the call begin in `#held` and how far they were passed on; undefined before its head is whole. */
  #passed: number | undefined;
  #argumentsEnded = false;
  #parts: AnswerPart[] = [];

  constructor(options: SplitterOptions) {
    this.#options = options;
    [this.#mark] = toolMarks[options.form];
  }

  /** Whether there are calls and all of them are whole. */
  get complete(): boolean {
    return this.#calls > 0 && this.#passed === undefined;
  }

  /** The parts that `text` decides. */
  push(text: string): AnswerPart[] {
    this.#held += text;
    while (this.#step());
    return this.#take();
  }

  /**
   * The rest, now that the text has ended. A call that was passed on stays as far as it came. One that was cut before its name is content,
   * unless it is known to be a call: then it is nothing.
   */
  finish(): AnswerPart[] {
    if (this.#options.required) {
      this.#held = this.#raw = this.#space = "";
      return this.#take();
    }
    if (this.#state === "before" || this.#state === "object") {
      const { constrained, form } = this.#options;
      const known = constrained && form !== "llama";
      // A comma after a call of an array says nothing by itself.
      const comma = this.#state === "before" && this.#listed;
      if (this.#passed === undefined && !known && !comma) this.#content(this.#raw + this.#held);
    } else if (this.#state === "text") this.#content(this.#held);
    this.#held = this.#raw = "";
    if (this.#calls === 0) this.#push(this.#space);
    this.#space = "";
    return this.#take();
  }

  /** Goes on by one decision; false where it takes more text. */
  #step(): boolean {
    switch (this.#state) {
      case "text":
        return this.#options.form === "llama" ? this.#beginning() : this.#text();
      case "before":
        return this.#before();
      case "object":
        return this.#object();
      case "after":
        return this.#after();
    }
  }

  #text(): boolean {
    const held = this.#held;
    const { most, leading } = this.#options;
    const open = this.#calls < most && !(leading && this.#said);
    const found = open ? held.indexOf(this.#mark) : -1;
    const at = leading && this.#calls === 0 && found > blanks(held) ? -1 : found;
    if (at >= 0) {
      this.#content(held.slice(0, at));
      this.#raw = this.#mark;
      this.#held = held.slice(at + this.#mark.length);
      this.#state = "before";
      return true;
    }
    const keep = open ? startIn(held, this.#mark) : 0;
    this.#content(held.slice(0, held.length - keep));
    this.#held = held.slice(held.length - keep);
    return false;
  }

  /** A call of the `llama` form is the whole text. */
  #beginning(): boolean {
    const held = this.#held;
    if (this.#said || this.#calls > 0) {
      this.#content(held);
      this.#held = "";
      return false;
    }
    const start = blanks(held);
    const rest = held.slice(start);
    const marked = rest.startsWith(this.#mark);
    if (!marked && rest.length < this.#mark.length && this.#mark.startsWith(rest)) return false;
    if (!marked && rest[0] !== "{") {
      this.#content(held);
      this.#held = "";
      return false;
    }
    this.#raw = held.slice(0, marked ? start + this.#mark.length : start);
    this.#held = held.slice(this.#raw.length);
    this.#state = "before";
    return true;
  }

  /** After the mark, up to the brace of the call. */
  #before(): boolean {
    const held = this.#held;
    let at = blanks(held);
    if (this.#options.form === "mistral" && !this.#listed) {
      if (at === held.length) return false;
      if (held[at] !== "[") return this.#fail();
      at += 1 + blanks(held.slice(at + 1));
    }
    if (at === held.length) return false;
    if (held[at] !== "{") return this.#fail();
    this.#raw += held.slice(0, at);
    this.#held = held.slice(at);
    this.#scanner = new JsonObjectScanner();
    this.#scanned = 0;
    this.#argumentsEnded = false;
    this.#state = "object";
    return true;
  }

  #object(): boolean {
    const { constrained, names } = this.#options;
    if (constrained && this.#passed === undefined && this.#scanned === 0) {
      const begin = callHead(this.#held);
      if (begin) {
        if (!names.has(begin.name)) return this.#fail();
        this.#begin(begin.name);
        this.#passed = begin.length;
        this.#scanner.scan(this.#held.slice(0, begin.length), 0, 0);
        this.#scanned = begin.length;
      } else if (!this.#mayBeCall()) {
        return this.#fail();
      } else return false;
    }
    if (this.#passed !== undefined) return this.#pass(this.#passed);
    const end = this.#scanner.scan(this.#held, this.#scanned, 0);
    this.#scanned = this.#held.length;
    if (end < 0) return false;
    const call = readCall(this.#held.slice(0, end));
    if (!call || !names.has(call.name)) return this.#fail();
    this.#begin(call.name);
    this.#parts.push({ type: "arguments", text: call.arguments });
    this.#end(end);
    return true;
  }

  /** Passes arguments on as they come. */
  #pass(passed: number): boolean {
    if (!this.#argumentsEnded) {
      const end = this.#scanner.scan(this.#held, this.#scanned, 1);
      const upTo = end < 0 ? this.#held.length : end;
      if (upTo > passed) {
        this.#parts.push({ type: "arguments", text: this.#held.slice(passed, upTo) });
      }
      this.#passed = this.#scanned = upTo;
      this.#argumentsEnded = end >= 0;
      if (!this.#argumentsEnded) return false;
    }
    const end = this.#scanner.scan(this.#held, this.#scanned, 0);
    this.#scanned = this.#held.length;
    if (end < 0) return false;
    this.#end(end);
    return true;
  }

  /** What follows a call: its closing mark, the next one of an array, or text. */
  #after(): boolean {
    const { form, most } = this.#options;
    const held = this.#held;
    const at = blanks(held);
    const rest = held.slice(at);
    if (rest === "") return false;
    const listed = form === "mistral";
    if (listed && rest[0] === "," && this.#calls < most) {
      this.#raw = held.slice(0, at + 1);
      this.#held = rest.slice(1);
      this.#state = "before";
      return true;
    }
    const closing = form === "hermes" ? close : listed ? "]" : "";
    if (rest.length < closing.length && closing.startsWith(rest)) return false;
    this.#held = closing !== "" && rest.startsWith(closing) ? rest.slice(closing.length) : held;
    this.#listed = false;
    this.#state = "text";
    return true;
  }

  /** It is no call: what was held is content, and what follows the mark is read as text again. */
  #fail(): boolean {
    this.#listed = false;
    this.#state = "text";
    // A brace that began a text is not looked at twice; a mark within what followed one is.
    const object = this.#options.form === "llama";
    const raw = object ? this.#raw + this.#held : this.#raw;
    if (object) this.#held = "";
    this.#raw = "";
    this.#content(raw);
    return true;
  }

  #begin(name: string): void {
    this.#space = "";
    this.#calls++;
    this.#parts.push({ type: "call", name });
  }

  #end(end: number): void {
    this.#held = this.#held.slice(end);
    this.#raw = "";
    this.#passed = undefined;
    this.#listed = this.#options.form === "mistral";
    this.#state = "after";
  }

  /** Whether the text of an object may still turn out to be a call. */
  #mayBeCall(): boolean {
    const dense = this.#held.slice(0, 200).replace(/[ \t\r\n]/g, "");
    return dense.length < namePart.length ? namePart.startsWith(dense) : dense.startsWith(namePart);
  }

  /** Takes text that is content, except for white space at its end, of which that is not known yet. */
  #content(text: string): void {
    const all = this.#space + text;
    let end = all.length;
    while (end > 0 && blank.test(all[end - 1])) end--;
    this.#space = all.slice(end);
    let start = 0;
    // What separates calls from text behind them separates nothing where there is no text before them.
    if (!this.#said && this.#calls > 0) start = blanks(all.slice(0, end));
    this.#push(all.slice(start, end));
  }

  #push(text: string): void {
    if (text === "") return;
    this.#said = true;
    this.#parts.push({ type: "content", text });
  }

  #take(): AnswerPart[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }
}

/** White space that `text` begins with, in characters. */
function blanks(text: string): number {
  let at = 0;
  while (at < text.length && blank.test(text[at])) at++;
  return at;
}

/** Length of the longest end of `text` that begins `mark`. */
function startIn(text: string, mark: string): number {
  for (let n = Math.min(mark.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(mark.slice(0, n))) return n;
  }
  return 0;
}
