/**
 * A body that calls `touch` for each of its chunks. `fail` ends it at once with an error, for its reader and for whoever sends it.
 */
export function watchedBody(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  touch: () => void,
): { body: ReadableStream<Uint8Array<ArrayBuffer>>; fail(error: unknown): void } {
  let controller: TransformStreamDefaultController<Uint8Array<ArrayBuffer>>;
  const watched = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    start(given) {
      controller = given;
    },
    transform(chunk) {
      touch();
      controller.enqueue(chunk);
    },
  });
  return { body: body.pipeThrough(watched), fail: (error) => controller.error(error) };
}
