/** Identifiers that cannot be guessed. @module */

/** A random integer in [0, 2^53): exact in JSON numbers of every language. */
export function randomSafeInteger(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

/** A random secret of 128 bits in hexadecimal. */
export function randomSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Whether two strings are equal, in time that does not depend on where they differ. */
export function equalSecret(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) {
    difference |= a.charCodeAt(i) ^ (i < b.length ? b.charCodeAt(i) : 0);
  }
  return difference === 0;
}
