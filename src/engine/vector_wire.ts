import { decodeBase64, encodeBase64 } from "../common/base64.ts";

/** Embeddings on their way: f32, little endian, in base64. As JSON numbers they would take four times the room, and long to write and read. */
export const vectorWire = {
  /** `vector` as text. */
  encode(vector: Float32Array<ArrayBuffer>): string {
    return encodeBase64(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength));
  },
  /** The vector of `text`. */
  decode(text: string): Float32Array<ArrayBuffer> {
    return new Float32Array(decodeBase64(text).buffer);
  },
};
