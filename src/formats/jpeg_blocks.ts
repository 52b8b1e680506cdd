import { type Orientation, tiffOrientation } from "./tiff_orientation.ts";

const exifMark = [0x45, 0x78, 0x69, 0x66, 0, 0];
const adobeMark = [0x41, 0x64, 0x6f, 0x62, 0x65];
const jfifMark = [0x4a, 0x46, 0x49, 0x46, 0];

/** A block before the picture: its marker's second byte, and its content. */
interface JpegBlock {
  marker: number;
  content: Uint8Array<ArrayBuffer>;
}

/** The orientation that a JPEG file's Exif block names; 1 when it names none, or the block is damaged. */
export function jpegOrientation(bytes: Uint8Array<ArrayBuffer>): Orientation {
  for (const { marker, content } of blocks(bytes)) {
    if (marker !== 0xe1 || !begins(content, exifMark)) continue;
    const { buffer, byteOffset, byteLength } = content.subarray(exifMark.length);
    return tiffOrientation(new DataView(buffer, byteOffset, byteLength));
  }
  return 1;
}

/**
 * Whether a JPEG file of three components has RGB in them instead of luma and colour differences: Adobe's block says so, or where there is
 * none, nor JFIF's, which means the latter, the components' letters do.
 */
export function jpegIsRgb(bytes: Uint8Array<ArrayBuffer>): boolean {
  let plain = true, letters = "";
  for (const { marker, content } of blocks(bytes)) {
    // Its last byte of twelve: 0 is no transform.
    if (marker === 0xee && begins(content, adobeMark)) return content[11] === 0;
    if (marker === 0xe0 && begins(content, jfifMark)) plain = false;
    // A frame's header: precision, two sides, the count, then three bytes a component, their name first.
    if (marker >= 0xc0 && marker <= 0xc2 && content[5] === 3) {
      letters = String.fromCharCode(content[6], content[9], content[12]);
    }
  }
  return plain && letters === "RGB";
}

function begins(content: Uint8Array, mark: readonly number[]): boolean {
  return mark.every((byte, i) => content[i] === byte);
}

/** The blocks up to the picture's data. */
function* blocks(bytes: Uint8Array<ArrayBuffer>): Generator<JpegBlock> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    // Any number of them may stand before a marker.
    if (marker === 0xff) {
      at++;
      continue;
    }
    // The picture begins: no blocks after that.
    if (marker === 0xda) return;
    const length = view.getUint16(at + 2);
    yield { marker, content: bytes.subarray(at + 4, Math.max(at + 4, at + 2 + length)) };
    at += 2 + length;
  }
}
