/**
 * Reads `source` ahead by at most `depth` items, so that a producer (a pipe, a camera) works while the consumer computes, and
 * waits when the consumer is slower. Leaving the loop early, or an abort, ends the source.
 */
export async function* prefetch<T>(
  source: AsyncIterable<T>,
  depth: number,
  signal?: AbortSignal,
): AsyncGenerator<T> {
  if (!(Number.isInteger(depth) && depth >= 1)) {
    throw new RangeError(`prefetch depth is ${depth}, expected 1 or more`);
  }
  const iterator = source[Symbol.asyncIterator]();
  const pending: Promise<IteratorResult<T>>[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const request = () => {
    // One call at a time: a generator would queue them anyway, other iterators need not.
    const next = last.then(() => iterator.next());
    next.catch(() => {}); // reported when its turn comes
    last = next.catch(() => {});
    pending.push(next);
  };
  // Rejects the wait under way. (A race against one promise for the whole stream would keep every item: the promise's reactions
  // hold the races' results.)
  let stop: ((reason: unknown) => void) | undefined;
  const onAbort = () => stop?.(signal!.reason);
  signal?.addEventListener("abort", onAbort);
  const orAbort = (item: Promise<IteratorResult<T>>) =>
    new Promise<IteratorResult<T>>((resolve, reject) => {
      stop = reject;
      item.then(resolve, reject);
    });
  let finished = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      while (pending.length < depth) request();
      const result = await orAbort(pending.shift()!);
      if (result.done) {
        finished = true;
        return;
      }
      yield result.value;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    // Not awaited: a source that is stuck in a read must not keep its consumer.
    if (!finished) Promise.resolve(iterator.return?.()).catch(() => {});
  }
}
