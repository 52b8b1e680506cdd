/**
 * Summarises a long text chunk by chunk, each with the summary so far. The whole chain reaches the server in one
 * request; the next chunk is read in while the one before is being summarised.
 *
 *     deno run -A examples/chain_summary.ts FILE [http://127.0.0.1:8080]
 *
 * @module
 */
import {
  type GraphClientOptions,
  GraphSession,
  input,
  output,
  type RemoteVariable,
  semanticFunction,
} from "../src/client/mod.ts";

const start = semanticFunction`Text: ${input("text")}
A summary of the text in two sentences: ${output("summary", { maxTokens: 60 })}`;

const refine = semanticFunction`Text: ${input("text")}
Summary of what came before it: ${input("before")}
A summary of both in two sentences: ${output("summary", { maxTokens: 60 })}`;

/** Pieces of about `size` characters, cut at line ends where there are any. */
export function split(text: string, size: number): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length;) {
    const line = text.lastIndexOf("\n", at + size);
    const end = at + size >= text.length ? text.length : line > at ? line + 1 : at + size;
    pieces.push(text.slice(at, end));
    at = end;
  }
  return pieces;
}

/** Resolves to the summary of `text`. Throws `RangeError` when there is none to summarise. */
export async function chainSummary(
  text: string,
  options: GraphClientOptions = {},
  chunkChars = 4000,
): Promise<string> {
  await using session = new GraphSession(options);
  let summary: RemoteVariable | undefined;
  for (const chunk of split(text, chunkChars)) {
    summary = summary
      ? session.call(refine, { text: chunk, before: summary }).summary
      : session.call(start, { text: chunk }).summary;
  }
  if (!summary) throw new RangeError("chainSummary: the text is empty");
  return await summary.get({ criteria: "latency" });
}

if (import.meta.main) {
  const [file, url] = Deno.args;
  console.log(await chainSummary(await Deno.readTextFile(file), { url }));
}
