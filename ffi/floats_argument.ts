/** `value` for an argument that is read as floats. @throws {TypeError} for any other array: its bytes would be taken for floats. */
export function floatsArgument(name: string, value: Float32Array): Float32Array<ArrayBuffer> {
  if (value instanceof Float32Array) return value as Float32Array<ArrayBuffer>;
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  throw new TypeError(`${name} is of type ${kind}, expected Float32Array`);
}
