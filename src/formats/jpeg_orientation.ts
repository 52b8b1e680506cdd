/** How a camera was held: 1 to 8, as Exif counts (CIPA DC-008, tag 0x0112). */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const exifMark = [0x45, 0x78, 0x69, 0x66, 0, 0];
const orientationTag = 0x0112;

/** The orientation that a JPEG file's Exif block names; 1 when it names none, or the block is damaged. */
export function jpegOrientation(bytes: Uint8Array<ArrayBuffer>): Orientation {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    // The picture begins: no blocks after that.
    if (marker === 0xda) break;
    const length = view.getUint16(at + 2);
    if (marker === 0xe1 && exifMark.every((byte, i) => bytes[at + 4 + i] === byte)) {
      const end = Math.min(at + 2 + length, bytes.length);
      return end <= at + 10
        ? 1
        : fromTiff(new DataView(bytes.buffer, bytes.byteOffset + at + 10, end - at - 10));
    }
    at += 2 + length;
  }
  return 1;
}

function fromTiff(view: DataView): Orientation {
  if (view.byteLength < 8) return 1;
  const little = view.getUint16(0) === 0x4949;
  const directory = view.getUint32(4, little);
  if (directory + 2 > view.byteLength) return 1;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (at + 12 > view.byteLength) break;
    if (view.getUint16(at, little) !== orientationTag) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value as Orientation : 1;
  }
  return 1;
}
