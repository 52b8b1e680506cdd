/** The data of each event of a server-sent stream; `signal` lets go of it. */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<string, void, void> {
  // Of an event that has not ended. Joined when it has: an image's may come in hundreds of pieces.
  let parts: string[] = [];
  for await (
    const text of body.pipeThrough(
      new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>,
      { signal },
    )
  ) {
    const pieces = (brokenLine(parts) + text).split("\n\n");
    const rest = pieces.pop() ?? "";
    for (const piece of pieces) {
      const event = [...parts, piece].join("");
      parts = [];
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
    parts.push(rest);
  }
}

/** Takes the line break off the end of `parts`, if there is one: with what comes next it may be the end of the event. */
function brokenLine(parts: string[]): string {
  const last = parts.at(-1);
  if (!last?.endsWith("\n")) return "";
  parts[parts.length - 1] = last.slice(0, -1);
  return "\n";
}
