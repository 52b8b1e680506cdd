/** Bytes of base64 text. Throws `RangeError` for anything else. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(text);
  } catch (error) {
    throw new RangeError(`the data is not base64: ${(error as Error).message}`, { cause: error });
  }
}

/** Base64 text of bytes. */
export function encodeBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}
