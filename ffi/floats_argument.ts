/**
 * `value` for an argument that is read as floats. @throws {TypeError} for any other array, whose bytes would be taken for floats, and for one whose memory
 * was given away (to a Worker, say), which would be taken for an empty one.
 */
export function floatsArgument(name: string, value: Float32Array): Float32Array<ArrayBuffer> {
  if (value instanceof Float32Array) {
    const floats = value as Float32Array<ArrayBuffer>;
    if (floats.buffer.detached) {
      throw new TypeError(`${name} is detached: its memory was transferred elsewhere`);
    }
    return floats;
  }
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  throw new TypeError(`${name} is of type ${kind}, expected Float32Array`);
}
