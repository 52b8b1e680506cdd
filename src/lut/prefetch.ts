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
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => {});
  const onAbort = () => aborted.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  let finished = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      while (pending.length < depth) request();
      const result = await Promise.race([pending.shift()!, aborted.promise]);
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
