import { ModelFormatError } from "../common/errors.ts";
import type { ToolDefinition } from "../common/tools.ts";
import { parseWritten, WrittenNumber } from "../common/written_number.ts";
import type { GgufMetadata } from "../formats/gguf_metadata.ts";
import { BpeEncoder } from "./bpe.ts";
import { ChatTemplate, type ChatTurn } from "./chat_template.ts";
import { pretokenizer } from "./pretokenize.ts";
import { type Fragment, SpecialTokens } from "./special_tokens.ts";
import { SpmEncoder } from "./spm.ts";
import { StreamDecoder } from "./stream_decoder.ts";
import { shortCallIds } from "./short_call_ids.ts";
import { type TokenText, tokenText } from "./token_text.ts";
import { type ToolTemplate, toolTemplate } from "./tool_template.ts";
import { TokenType, Vocab } from "./vocab.ts";
import { writtenTools } from "./written_tools.ts";

// Control tokens that end a turn or a text under whatever name a model gives them; metadata often lists one of several.
const endTokenTexts = [
  "</s>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<end_of_utterance>",
  "<EOT>",
  "_<EOT>",
  "<｜end▁of▁sentence｜>",
];

// Ranks are packed above 32 bits of position into a double (pair_merger.ts).
const maxMerges = 1 << 20;

/** A piece of text to encode, or tokens taken as they are. */
export type TokenizerPart =
  | { type: "text"; text: string; special?: boolean }
  | { type: "tokens"; ids: readonly number[] };

/** How text becomes tokens. */
export interface EncodeOptions {
  /** Put the beginning-of-sequence token in front if the model's metadata asks for one. Default true. */
  addBos?: boolean;
  /** Whether control tokens written in the text (`<|im_end|>`) become tokens. Default false: they are plain text. */
  special?: boolean;
}

/** How a chat is rendered. */
export interface ChatOptions {
  /** End with what opens the model's own turn. Default true. */
  addGenerationPrompt?: boolean;
  /** Functions that the model may ask to be called. */
  tools?: readonly ToolDefinition[];
}

/** Text to tokens and back, for one model. */
export class Tokenizer {
  readonly vocab: Vocab;
  /** Token that begins a sequence; undefined when the vocabulary has none. */
  readonly bosId: number | undefined;
  /** Token that ends a sequence; undefined when the vocabulary has none. */
  readonly eosId: number | undefined;
  readonly unknownId: number | undefined;
  /** Whether the model expects {@linkcode bosId} in front of every sequence. */
  readonly addBos: boolean;
  /** Whether the model expects {@linkcode eosId} behind a text that is whole. */
  readonly addEos: boolean;
  /** Generation ends at any of these. */
  readonly endTokens: ReadonlySet<number>;
  readonly hasChatTemplate: boolean;
  /** The template of chats (Jinja); empty when the model has none. */
  readonly chatTemplate: string;
  /** How the template deals with tools. */
  readonly tools: ToolTemplate;

  readonly #encoder: BpeEncoder | SpmEncoder;
  readonly #special: SpecialTokens;
  readonly #spacePrefix: boolean;
  #template: ChatTemplate | ModelFormatError | undefined;
  readonly #texts: TokenText[] = [];

  /**
   * The tokenizer that a GGUF file's metadata describes (`tokenizer.*`). Throws `ModelFormatError` when it is damaged
   * or of a kind that is not supported.
   */
  static fromGguf(metadata: GgufMetadata): Tokenizer {
    return new Tokenizer(metadata);
  }

  private constructor(metadata: GgufMetadata) {
    const vocab = this.vocab = new Vocab(metadata);
    const id = (key: string): number | undefined =>
      metadata.has(key) ? metadata.integer(key, 0, vocab.size - 1) : undefined;
    // Old SentencePiece conversions leave these to the convention of the LLaMA vocabulary.
    const conventional = (text: string) => vocab.kind === "spm" ? vocab.ids.get(text) : undefined;
    this.bosId = id("tokenizer.ggml.bos_token_id") ?? conventional("<s>");
    this.eosId = id("tokenizer.ggml.eos_token_id") ?? conventional("</s>");
    this.unknownId = id("tokenizer.ggml.unknown_token_id") ?? conventional("<unk>");

    const unknown = this.unknownId ?? -1;
    let addBos = vocab.kind === "spm";
    if (vocab.kind === "bpe") {
      const words = pretokenizer(metadata.string("tokenizer.ggml.pre", "default"), metadata.file);
      const merges = metadata.strings("tokenizer.ggml.merges");
      if (merges.length > maxMerges) {
        throw metadata.error("tokenizer.ggml.merges", `at most ${maxMerges} merges`);
      }
      this.#encoder = new BpeEncoder(vocab, merges, words, unknown);
      addBos = words.addBos;
    } else {
      this.#encoder = new SpmEncoder(vocab, unknown);
    }
    this.addBos = this.bosId !== undefined &&
      metadata.boolean("tokenizer.ggml.add_bos_token", addBos);
    this.addEos = this.eosId !== undefined &&
      metadata.boolean("tokenizer.ggml.add_eos_token", false);
    this.#spacePrefix = metadata.boolean("tokenizer.ggml.add_space_prefix", vocab.kind === "spm");
    this.#special = new SpecialTokens(vocab, metadata);

    const ends = new Set<number>();
    for (
      const end of [
        this.eosId,
        id("tokenizer.ggml.eot_token_id"),
        id("tokenizer.ggml.eom_token_id"),
      ]
    ) {
      if (end !== undefined) ends.add(end);
    }
    for (const text of endTokenTexts) {
      const end = vocab.ids.get(text);
      if (end !== undefined && vocab.types[end] === TokenType.control) ends.add(end);
    }
    this.endTokens = ends;

    this.chatTemplate = metadata.string("tokenizer.chat_template", "");
    this.hasChatTemplate = this.chatTemplate !== "";
    this.tools = toolTemplate(this.chatTemplate);
  }

  /** Number of tokens. */
  get size(): number {
    return this.vocab.size;
  }

  /** The tokens of `text`. Lone surrogates count as U+FFFD. */
  encode(text: string, { addBos = true, special = false }: EncodeOptions = {}): number[] {
    return this.#encodeFragments(this.#special.split(text, special), addBos);
  }

  /**
   * The tokens of parts put one after another. Neighbouring text is encoded as one, so words may merge across parts,
   * but no control token comes of text that did not ask for them. Throws `RangeError` for an id out of range.
   *
   * @param addEos put the end-of-sequence token behind if the model's metadata asks for one and the parts do not bring it; default false
   */
  encodeParts(
    parts: readonly TokenizerPart[],
    { addBos = true, addEos = false }: { addBos?: boolean; addEos?: boolean } = {},
  ): number[] {
    const ids = this.#encodeFragments(this.#fragments(parts), addBos);
    if (addEos && this.addEos && ids.at(-1) !== this.eosId) ids.push(this.eosId!);
    return ids;
  }

  /** Whether {@linkcode encodeParts} puts a beginning-of-sequence token in front of these parts. */
  addsBos(parts: readonly TokenizerPart[]): boolean {
    return this.addBos && this.#fragments(parts)[0] !== this.bosId;
  }

  #fragments(parts: readonly TokenizerPart[]): Fragment[] {
    const fragments: Fragment[] = [];
    for (const part of parts) {
      if (part.type === "text") {
        append(fragments, this.#special.split(part.text, part.special ?? false));
      } else {
        for (const id of part.ids) {
          if (!Number.isInteger(id) || id < 0 || id >= this.size) {
            throw new RangeError(`token id is ${id}, expected an integer in [0, ${this.size})`);
          }
          fragments.push(id);
        }
      }
    }
    return fragments;
  }

  #encodeFragments(fragments: readonly Fragment[], addBos: boolean): number[] {
    const ids: number[] = [];
    // A text or a list of tokens that brings its own is not given a second one.
    if (addBos && this.addBos && fragments[0] !== this.bosId) ids.push(this.bosId!);
    for (const fragment of fragments) {
      if (typeof fragment === "number") {
        ids.push(fragment);
        continue;
      }
      // SentencePiece marks the start of a word by the space before it; the first word of a text gets one too.
      const starts = ids.length === 0 ||
        this.vocab.types[ids[ids.length - 1]] !== TokenType.normal &&
          this.vocab.types[ids[ids.length - 1]] !== TokenType.byte;
      this.#encoder.encode(this.#spacePrefix && starts ? " " + fragment : fragment, ids);
    }
    return ids;
  }

  /** The text of `ids`; control tokens are left out unless `special`. Throws `RangeError` for an id out of range. */
  decode(ids: Iterable<number>, { special = false }: { special?: boolean } = {}): string {
    const decoder = this.streamDecoder({ special });
    return decoder.pushAll(Array.from(ids, (id) => this.vocab.checked(id))) + decoder.flush();
  }

  /** Control tokens that are written as one of `texts`. */
  controlTokens(texts: readonly string[]): ReadonlySet<number> {
    const ids = texts.map((text) => this.vocab.ids.get(text));
    return new Set(ids.filter((id) => id !== undefined && this.vocab.isControl(id)) as number[]);
  }

  /** What token `id` stands for: nothing for an id that a model has beyond its vocabulary. */
  describe(id: number): TokenText {
    return this.#texts[id] ??= tokenText(this.vocab, id);
  }

  /**
   * A decoder for tokens that arrive one by one. `after` is the token they follow (the prompt's last): where that is a
   * control token or absent, a text starts and SentencePiece's leading space is dropped, unless `whole`.
   * `visible` are control tokens that are spelt out where the others are not.
   */
  streamDecoder(
    { after, special = false, whole = false, visible }: {
      after?: number;
      special?: boolean;
      whole?: boolean;
      visible?: ReadonlySet<number>;
    } = {},
  ): StreamDecoder {
    const starts = after === undefined || this.vocab.isControl(after);
    const stripSpace = this.#spacePrefix && starts && !whole;
    return new StreamDecoder(this.vocab, { stripSpace, special, visible });
  }

  /**
   * The text of a chat by the model's own template. Encode it with `special`; for messages from strangers prefer
   * {@linkcode encodeChat}. Throws `TypeError` when the model has no template or the template refuses the messages.
   */
  applyChatTemplate(
    messages: readonly ChatTurn[],
    { addGenerationPrompt = true, tools = [] }: ChatOptions = {},
  ): string {
    const chat = this.#toolChat(messages, tools);
    return this.#render(chat.messages, { addGenerationPrompt, tools: chat.tools });
  }

  /**
   * The tokens of a chat. Control tokens come from the template only: those written in a message or in a tool stay plain text, so none can
   * forge a turn; nor, where the template writes calls itself, their marks.
   */
  encodeChat(
    messages: readonly ChatTurn[],
    { addGenerationPrompt = true, tools = [] }: ChatOptions = {},
  ): number[] {
    const chat = this.#toolChat(messages, tools);
    const mark = unusedMark(chat, this.chatTemplate);
    const disarm = (text: string) => this.#special.disarm(text, mark, this.tools.calls);
    const rendered = this.#render(
      chat.messages.map((message) => mapStrings(message, disarm)),
      { addGenerationPrompt, tools: chat.tools.map((tool) => mapStrings(tool, disarm)) },
    );
    const fragments: Fragment[] = [];
    for (const piece of rendered.split(mark)) append(fragments, this.#special.split(piece, true));
    // Most templates write the beginning token themselves.
    return this.#encodeFragments(fragments, fragments[0] !== this.bosId);
  }

  /** A chat and tools as the template takes them. */
  #toolChat(
    turns: readonly ChatTurn[],
    tools: readonly ToolDefinition[],
  ): { messages: readonly ChatTurn[]; tools: readonly ToolDefinition[] } {
    const messages = turns.map(withWrittenNumbers);
    const { native, calls, form } = this.tools;
    if (!native) {
      const takesSystem = tools.length === 0 || this.#takesSystem;
      return { messages: writtenTools(messages, tools, takesSystem), tools: [] };
    }
    return {
      messages: calls
        ? form === "mistral" ? shortCallIds(messages) : messages
        : writtenTools(messages, []),
      // Some templates go through all of it, there or not.
      tools: tools.map(({ name, description = "", parameters }) => ({
        name,
        description,
        parameters: { type: "object", properties: {}, ...parameters },
      })),
    };
  }

  /** Whether the template writes a system message; some refuse or forget it. */
  get #takesSystem(): boolean {
    const chat = [{ role: "system", content: "rules" }, { role: "user", content: "words" }];
    try {
      return this.#render(chat, { addGenerationPrompt: true, tools: [] }).includes("rules");
    } catch (error) {
      if (error instanceof TypeError && this.hasChatTemplate) return false;
      throw error;
    }
  }

  #render(messages: readonly ChatTurn[], options: Required<ChatOptions>): string {
    if (!this.hasChatTemplate) {
      throw new TypeError(
        `${this.vocab.file} has no chat template (tokenizer.chat_template), expected one for a chat: ` +
          "use a plain prompt with this model",
      );
    }
    const text = (id: number | undefined) => id === undefined ? "" : this.vocab.tokens[id];
    return this.#parsed().render(messages, {
      ...options,
      bosToken: text(this.bosId),
      eosToken: text(this.eosId),
    });
  }

  /** A template that does not parse is not read again for every chat. */
  #parsed(): ChatTemplate {
    if (this.#template === undefined) {
      try {
        this.#template = new ChatTemplate(this.chatTemplate, this.vocab.file);
      } catch (error) {
        if (!(error instanceof ModelFormatError)) throw error;
        this.#template = error;
      }
    }
    if (this.#template instanceof ModelFormatError) throw this.#template;
    return this.#template;
  }
}

/** A turn whose calls have the numbers that were written. */
function withWrittenNumbers(turn: ChatTurn): ChatTurn {
  if (!turn.toolCalls) return turn;
  const toolCalls = turn.toolCalls.map(({ written, ...call }) =>
    written === undefined
      ? call
      : { ...call, arguments: parseWritten(written).value as typeof call.arguments }
  );
  return { ...turn, toolCalls };
}

/** `value` with `map` done to every string in it, names of properties too. */
function mapStrings<T>(value: T, map: (text: string) => string): T;
function mapStrings(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === "string") return map(value);
  if (Array.isArray(value)) return value.map((one) => mapStrings(one, map));
  if (typeof value !== "object" || value === null || value instanceof WrittenNumber) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [map(key), mapStrings(one, map)]),
  );
}

/** A string that occurs nowhere in `values`, of characters that templates write as they are, be it as Python's text or as JSON. */
function unusedMark(...values: unknown[]): string {
  const taken = new Set(JSON.stringify(values).match(/~%\d+(?=%~)/g));
  let n = 0;
  while (taken.has(`~%${n}`)) n++;
  return `~%${n}%~`;
}

/** Adds `more` to `fragments`, joining text with text. */
function append(fragments: Fragment[], more: readonly Fragment[]): void {
  for (const fragment of more) {
    const last = fragments.length - 1;
    if (typeof fragment === "string" && typeof fragments[last] === "string") {
      fragments[last] += fragment;
    } else fragments.push(fragment);
  }
}

export type { ChatTurn } from "./chat_template.ts";
export type { StreamDecoder } from "./stream_decoder.ts";
export type { TokenText } from "./token_text.ts";
