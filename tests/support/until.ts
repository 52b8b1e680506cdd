import { assert } from "@std/assert";

/** Waits until a condition holds; fails after 5 s, naming it. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 5000;
  while (!condition()) {
    assert(performance.now() < end, `${what}: not within 5 s`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
