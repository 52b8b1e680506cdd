import { type Orientation, tiffOrientation } from "./tiff_orientation.ts";

const exifMark = [0x45, 0x78, 0x69, 0x66, 0, 0];

/** The orientation that a JPEG file's Exif block names; 1 when it names none, or the block is damaged. */
export function jpegOrientation(bytes: Uint8Array<ArrayBuffer>): Orientation {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    // Any number of them may stand before a marker.
    if (marker === 0xff) {
      at++;
      continue;
    }
    // The picture begins: no blocks after that.
    if (marker === 0xda) break;
    const length = view.getUint16(at + 2);
    if (marker === 0xe1 && exifMark.every((byte, i) => bytes[at + 4 + i] === byte)) {
      const end = Math.min(at + 2 + length, bytes.length);
      return end <= at + 10
        ? 1
        : tiffOrientation(new DataView(bytes.buffer, bytes.byteOffset + at + 10, end - at - 10));
    }
    at += 2 + length;
  }
  return 1;
}
