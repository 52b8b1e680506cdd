import type { ScoredText } from "./scored_text.ts";
import type { Sequence } from "./sequence.ts";
import type { TextCodec, TextDecoderStream } from "./text_codec.ts";
import type { GenerateEvent, ScoredToken } from "./types.ts";

/** A prompt told back to whoever asked for it: at once, or with the scores of its tokens as they become known. */
export class PromptEcho {
  readonly #sequence: Sequence;
  readonly #scored: ScoredText | undefined;
  readonly #decoder: TextDecoderStream;
  #at: number;

  /** @param first index of the first token to be told */
  constructor(
    sequence: Sequence,
    first: number,
    codec: TextCodec,
    scored: ScoredText | undefined,
  ) {
    this.#sequence = sequence;
    this.#at = first;
    this.#scored = scored;
    this.#decoder = codec.streamDecoder({ special: true });
  }

  /** Whether all of the prompt was told. */
  get done(): boolean {
    return this.#at >= this.#sequence.promptTokens;
  }

  /**
   * What can be told of the prompt that was not before; undefined when there is nothing.
   * @throws {Error} when the model's logits of a token were not finite.
   */
  next(): GenerateEvent | undefined {
    const { scores, promptTokens, ids } = this.#sequence;
    // The first token follows nothing and waits for nothing; it comes with the next one all the same.
    const known = scores ? Math.min(scores.next + 1, promptTokens) : promptTokens;
    if (known <= this.#at || (known === 1 && promptTokens > 1)) return undefined;
    const told: number[] = [];
    const logprobs: ScoredToken[] = [];
    let text = "";
    for (; this.#at < known; this.#at++) {
      const id = ids[this.#at];
      told.push(id);
      const score = scores?.take(this.#at);
      if (this.#scored) logprobs.push(this.#scored.token(id, score));
      let piece = this.#decoder.push(id);
      if (this.#at === promptTokens - 1) piece += this.#decoder.flush();
      this.#scored?.append(piece);
      text += piece;
    }
    return { type: "prompt", ids: told, text, ...(this.#scored && { logprobs }) };
  }
}
