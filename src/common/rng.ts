/**
 * A small seeded generator for tests, benches and synthetic inputs (PCG-XSH-RR 32, O'Neill 2014).
 * The sampler on the GPU has its own counter-based generator; the two are unrelated.
 */
export class Rng {
  #state: bigint;

  constructor(seed: number | bigint = 1) {
    this.#state = BigInt.asUintN(64, BigInt(seed) * 6364136223846793005n + 1442695040888963407n);
  }

  /** A uniform 32-bit unsigned integer. */
  uint32(): number {
    const s = this.#state;
    this.#state = BigInt.asUintN(64, s * 6364136223846793005n + 1442695040888963407n);
    const x = Number(BigInt.asUintN(32, ((s >> 18n) ^ s) >> 27n));
    const r = Number(s >> 59n);
    return ((x >>> r) | (x << ((32 - r) & 31))) >>> 0;
  }

  /** A uniform number in [0, 1). */
  uniform(): number {
    return this.uint32() / 4294967296;
  }

  /** A uniform integer in [0, n). */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** A standard normal deviate (Box-Muller). */
  normal(): number {
    const u = 1 - this.uniform();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** `n` normal deviates times `scale`, as f32. */
  normals(n: number, scale = 1): Float32Array<ArrayBuffer> {
    return Float32Array.from({ length: n }, () => this.normal() * scale);
  }
}
