import type { OpenedModel } from "../../src/engine/opened_model.ts";
import type { TextCodec } from "../../src/engine/text_codec.ts";
import { FakeRunner, type FakeRunnerOptions } from "./fake_runner.ts";

/** Settings of `openFakeModel`, plain data so that they can be sent to a host. */
export interface FakeModelOptions extends FakeRunnerOptions {
  id?: string;
  /** Milliseconds that opening takes. */
  openMs?: number;
  /** Opening fails with this message. */
  openError?: string;
  /** Text of the token that ends a generation, one of the alphabet; none by default. */
  endText?: string;
}

const alphabet = "abcdefghijklmnopqrstuvwxyz .,!?\n0123456789";
/** A letter of two bytes, each a token of its own, so that a code point can be cut in two. */
const pieces: Uint8Array[] = [
  ...Array.from(alphabet, (letter) => new TextEncoder().encode(letter)),
  Uint8Array.of(0xc3),
  Uint8Array.of(0xa9),
  ...["the", "and", "ing", "\n\n", "stop", "sto"].map((word) => new TextEncoder().encode(word)),
];

/** Tokens of the fake vocabulary. */
export const fakeVocabulary = pieces.length;

/** A tokenizer of letters and a few words; a chat is its contents, a line each. */
export class FakeCodec implements TextCodec {
  readonly endTokens: ReadonlySet<number>;
  readonly vocab = { size: pieces.length, bytes: (id: number) => pieces[id] };

  constructor(endText?: string) {
    this.endTokens = new Set(endText === undefined ? [] : [alphabet.indexOf(endText)]);
  }

  encode(text: string): number[] {
    return Array.from(text, (letter) => {
      const id = alphabet.indexOf(letter);
      if (id < 0) {
        throw new RangeError(`letter ${JSON.stringify(letter)} is not in the fake alphabet`);
      }
      return id;
    });
  }

  encodeParts(parts: Parameters<TextCodec["encodeParts"]>[0]): number[] {
    return parts.flatMap((part) => part.type === "text" ? this.encode(part.text) : part.ids);
  }

  encodeChat(messages: Parameters<TextCodec["encodeChat"]>[0]): number[] {
    return this.encode(messages.map((message) => message.content + "\n").join(""));
  }

  addsBos(): boolean {
    return false;
  }

  describe(id: number): ReturnType<TextCodec["describe"]> {
    const bytes = [...pieces[id]];
    const token = bytes[0] < 0x80
      ? new TextDecoder().decode(pieces[id])
      : `\\x${bytes[0].toString(16)}`;
    return { token, bytes };
  }

  decode(ids: Iterable<number>): string {
    const stream = this.streamDecoder();
    return [...ids].map((id) => stream.push(id)).join("") + stream.flush();
  }

  streamDecoder(): { push(id: number): string; flush(): string } {
    const decoder = new TextDecoder();
    return {
      push: (id) => decoder.decode(pieces[id], { stream: true }),
      flush: () => decoder.decode(),
    };
  }
}

/** A model without weights, for tests of the engine and its hosts. */
export async function openFakeModel(options: FakeModelOptions = {}): Promise<OpenedModel> {
  if (options.openMs) await new Promise((resolve) => setTimeout(resolve, options.openMs));
  if (options.openError) throw new TypeError(options.openError);
  const runner = new FakeRunner({ vocabulary: fakeVocabulary, ...options });
  return {
    info: {
      id: options.id ?? "fake",
      architecture: "fake",
      contextLength: runner.contextLength,
      vocabularySize: fakeVocabulary,
      embeddingWidth: runner.embedding?.width,
      parameters: 0,
      created: 1_700_000_000,
      hasChatTemplate: true,
      device: "arrays",
    },
    codec: new FakeCodec(options.endText),
    runner,
  };
}
