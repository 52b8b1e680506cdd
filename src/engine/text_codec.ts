import type { TokenSpellings } from "../constraint/constraint_compiler.ts";
import type { ToolDefinition } from "../common/tools.ts";
import type { TokenText } from "../tokenizer/token_text.ts";
import type { ChatMessage, PromptPart } from "./types.ts";

/** Turns tokens that arrive one by one into text; holds unfinished characters back. */
export interface TextDecoderStream {
  /** The text that token `id` completes, possibly empty. */
  push(id: number): string;
  /** What is left at the end. */
  flush(): string;
}

/** What the engine needs of a tokenizer. `Tokenizer` has this shape. */
export interface TextCodec {
  /** What the tokens stand for; without it no text can be constrained. */
  readonly vocab?: TokenSpellings;
  /** Generation ends at any of these. */
  readonly endTokens: ReadonlySet<number>;
  encode(text: string, options?: { addBos?: boolean; special?: boolean }): number[];
  /** `addEos`: with an end-of-sequence token behind, where the model's metadata asks for one. */
  encodeParts(parts: readonly PromptPart[], options?: { addEos?: boolean }): number[];
  /** Whether `encodeParts` puts a beginning-of-sequence token in front of these. */
  addsBos(parts: readonly PromptPart[]): boolean;
  /** Throws `TypeError` when the model has no chat template. */
  encodeChat(
    messages: readonly ChatMessage[],
    options?: { tools?: readonly ToolDefinition[] },
  ): number[];
  decode(ids: Iterable<number>): string;
  /**
   * `after` is the token that the text follows; `special`: control tokens are spelt out instead of left out; `whole`: nothing of the first
   * token is left out, as a tokenizer's mark of a first word is; `visible`: control tokens that are spelt out.
   */
  streamDecoder(
    options?: { after?: number; special?: boolean; whole?: boolean; visible?: ReadonlySet<number> },
  ): TextDecoderStream;
  /** Control tokens that are written as one of `texts`. Absent: there are none. */
  controlTokens?(texts: readonly string[]): ReadonlySet<number>;
  /** What token `id` stands for. */
  describe(id: number): TokenText;
}
