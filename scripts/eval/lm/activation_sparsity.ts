import { GgufFile } from "../../../src/formats/gguf.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { FloatModel } from "./float_model.ts";

/** Share of each layer's feed-forward activations that are exactly zero over the first `tokens` tokens of `text`. */
export function activationSparsity(path: string, text: string, tokens: number): number[] {
  using file = GgufFile.open(path);
  const ids = Tokenizer.fromGguf(file.metadata).encode(text.slice(0, tokens * 12)).slice(0, tokens);
  const shares: number[] = [];
  new FloatModel(file).run(ids, ({ layer, hidden }) => {
    let zeros = 0;
    for (const value of hidden) if (value === 0) zeros++;
    shares[layer] = zeros / hidden.length;
  });
  return shares;
}
