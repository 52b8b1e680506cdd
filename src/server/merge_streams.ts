/** What a stream said, or why it failed. */
type Answer<T> = { step: IteratorResult<T> } | { error: unknown };

/**
 * What several streams say, each value with the index of its stream, as they say it. Ends when all have ended; throws what the
 * first to fail throws, and lets go of the others then and when the reader leaves.
 */
export async function* mergeStreams<T>(
  streams: readonly AsyncIterable<T>[],
): AsyncGenerator<[value: T, stream: number]> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  // Not a race of promises: every race would leave something with each stream that says nothing.
  const answers: { index: number; answer: Answer<T> }[] = [];
  let wake: (() => void) | undefined;
  const take = (index: number, answer: Answer<T>) => {
    answers.push({ index, answer });
    wake?.();
  };
  const ask = (index: number) =>
    iterators[index].next().then(
      (step) => take(index, { step }),
      (error) => take(index, { error }),
    );
  const open = new Set(iterators.keys());
  try {
    for (const index of open) ask(index);
    while (open.size > 0) {
      const next = answers.shift();
      if (!next) {
        await new Promise<void>((resolve) => wake = resolve);
        continue;
      }
      const { index, answer } = next;
      if ("error" in answer) throw answer.error;
      if (answer.step.done) open.delete(index);
      else {
        ask(index);
        yield [answer.step.value, index];
      }
    }
  } finally {
    for (const index of open) iterators[index].return?.()?.catch(() => undefined);
  }
}
