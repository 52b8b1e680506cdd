/**
 * The alphabet of byte-level BPE vocabularies (GPT-2, Radford et al. 2019): each byte is written as one printable
 * character, itself where that is printable, otherwise the next free one from U+0100 on.
 * @module
 */

/** The character that stands for each byte. */
export const byteToChar: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let free = 0x100;
  return Array.from(
    { length: 256 },
    (_, byte) => String.fromCharCode(printable(byte) ? byte : free++),
  );
})();

/** The byte that each character of the alphabet stands for. */
export const charToByte: ReadonlyMap<string, number> = new Map(
  byteToChar.map((char, byte) => [char, byte]),
);
