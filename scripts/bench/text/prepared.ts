/** Milliseconds in which shaders that only make some steps faster are compiled, which goes on while an engine is idle. */
const PREPARE_MS = 20_000;

/** Waits until an engine whose layers are left to shaders has compiled all of them: what is measured beside it would share the processor with the compiler. */
export function prepared(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PREPARE_MS));
}
