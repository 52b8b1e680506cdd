/**
 * Summarises the pieces of a text side by side, then the summaries together. The server sees that the pieces feed
 * one call and runs them as one batch.
 *
 *     deno run -A examples/map_reduce.ts FILE [http://127.0.0.1:8080]
 *
 * @module
 */
import {
  type GraphClientOptions,
  GraphSession,
  input,
  output,
  semanticFunction,
} from "../src/client/mod.ts";
import { split } from "./chain_summary.ts";

const map = semanticFunction`Summarise the text in one sentence.
Text: ${input("text")}
Summary: ${output("summary", { maxTokens: 40, transforms: [{ kind: "trim" }] })}`;

const pair = semanticFunction`${input("left")}
${input("right")}
The two together, in one sentence: ${
  output("both", { maxTokens: 40, transforms: [{ kind: "trim" }] })
}`;

/** Resolves to the summary of `text`: a tree of pairs over the pieces' summaries. */
export async function mapReduce(
  text: string,
  options: GraphClientOptions = {},
  chunkChars = 4000,
): Promise<string> {
  await using session = new GraphSession(options);
  let level = split(text, chunkChars).map((chunk) => session.call(map, { text: chunk }).summary);
  if (level.length === 0) throw new RangeError("mapReduce: the text is empty");
  while (level.length > 1) {
    const next = [];
    for (let i = 0; i + 1 < level.length; i += 2) {
      next.push(session.call(pair, { left: level[i], right: level[i + 1] }).both);
    }
    if (level.length % 2 === 1) next.push(level[level.length - 1]);
    level = next;
  }
  return await level[0].get({ criteria: "latency" });
}

if (import.meta.main) {
  const [file, url] = Deno.args;
  console.log(await mapReduce(await Deno.readTextFile(file), { url }));
}
