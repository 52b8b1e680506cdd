/** Half-precision numbers and their bits. @module */

const scratch = new DataView(new ArrayBuffer(4));

/** The value of an IEEE 754 binary16 with these bits. */
export function f16ToNumber(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The value of a bfloat16 with these bits. */
export function bf16ToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** The bits of the binary16 nearest to `value` (ties to even, overflow to infinity). */
export function numberToF16(value: number): number {
  scratch.setFloat16(0, value, true);
  return scratch.getUint16(0, true);
}
