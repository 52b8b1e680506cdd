/** Nearest f16 of every value, as raw bits; NumPy's `float16` files carry those. */
export function toHalfBits(values: Float32Array): Uint16Array<ArrayBuffer> {
  const halves = new Float16Array(values.length);
  halves.set(values);
  return new Uint16Array(halves.buffer);
}
