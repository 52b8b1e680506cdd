/**
 * What several streams say, each value with the index of its stream, as they say it. Ends when all have ended; throws what the
 * first to fail throws, and lets go of the others then and when the reader leaves.
 */
export async function* mergeStreams<T>(
  streams: readonly AsyncIterable<T>[],
): AsyncGenerator<[value: T, stream: number]> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  const next = (index: number) => iterators[index].next().then((step) => ({ step, index }));
  const waiting = new Map(iterators.map((_, index) => [index, next(index)]));
  try {
    while (waiting.size > 0) {
      const { step, index } = await Promise.race(waiting.values());
      if (step.done) waiting.delete(index);
      else {
        // To the end of the line, so that none waits behind a stream that always has something to say.
        waiting.delete(index);
        waiting.set(index, next(index));
        yield [step.value, index];
      }
    }
  } finally {
    for (const [index, step] of waiting) {
      // Its failure, if it comes to that, has no reader any more.
      step.catch(() => undefined);
      iterators[index].return?.()?.catch(() => undefined);
    }
  }
}
