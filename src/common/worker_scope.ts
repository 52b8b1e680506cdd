/** What a dedicated Worker's global scope has beyond a page's: the library types for it may not be referenced from a published module. */
export interface WorkerScope {
  onmessage: ((event: MessageEvent) => unknown) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  close(): void;
}

/** The global scope of the Worker this runs in. */
export function workerScope(): WorkerScope {
  return globalThis as unknown as WorkerScope;
}
