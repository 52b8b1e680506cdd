/** The data of each event of a server-sent stream; `signal` lets go of it. */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<string, void, void> {
  let rest = "";
  for await (
    const text of body.pipeThrough(
      new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>,
      { signal },
    )
  ) {
    const events = (rest + text).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield data.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}
