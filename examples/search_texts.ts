/**
 * Searches texts by their meaning in one process: a model embeds them, the vector index finds those next to a query. The embedded models were not
 * trained for this: give a GGUF file of one that was, such as Qwen3-Embedding.
 *
 *     deno run -A examples/search_texts.ts QUERY [MODEL.gguf] [FILE]
 *
 * FILE has a text a line; without it a few sentences are searched. Needs the native library.
 *
 * @module
 */
import { AttentionIndex, TextEngine } from "../mod.ts";

const sentences = [
  "The sparrow built its nest under the roof.",
  "Small birds sing in the garden every morning.",
  "The train to Paris leaves at nine.",
  "Tickets are sold at the station.",
  "She poured the milk and cut the bread.",
  "Dinner is ready when the soup is hot.",
];

/** A text and how near it is to the query: the cosine of the angle between their vectors. */
export interface Found {
  text: string;
  score: number;
}

/** Resolves to the `count` of `texts` that are nearest to `query`, the nearest first. */
export async function searchTexts(
  query: string,
  texts: readonly string[],
  { model, count = 3 }: { model: string | URL; count?: number },
): Promise<Found[]> {
  if (texts.length === 0) return [];
  await using engine = await TextEngine.open({ model });
  const { vectors } = await engine.embed(texts);
  const dim = vectors[0].length;
  const keys = new Float32Array(vectors.length * dim);
  vectors.forEach((vector, i) => keys.set(vector, i * dim));
  using index = AttentionIndex.build({ keys, dim });
  const [asked] = (await engine.embed(query)).vectors;
  const { ids, scores } = index.search(asked, { k: Math.min(count, texts.length) });
  return Array.from(ids, (id, i) => ({ text: texts[id], score: scores[i] }));
}

if (import.meta.main) {
  const [query = "birds", file, list] = Deno.args;
  const model = file ?? new URL("../models/sparrow-mini.gguf", import.meta.url);
  const texts = list ? (await Deno.readTextFile(list)).split("\n").filter(Boolean) : sentences;
  for (const { text, score } of await searchTexts(query, texts, { model })) {
    console.log(score.toFixed(3), text);
  }
}
