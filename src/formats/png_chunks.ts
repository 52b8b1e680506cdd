import { ModelFormatError } from "../common/errors.ts";

/** The parts of a PNG file that its pixels need. */
export interface PngChunks {
  /** The 13 bytes of IHDR. */
  header: Uint8Array<ArrayBuffer>;
  /** Colours of PLTE, three bytes each. */
  palette: Uint8Array<ArrayBuffer> | undefined;
  /** The content of tRNS. */
  transparency: Uint8Array<ArrayBuffer> | undefined;
  /** The content of eXIf. */
  exif: Uint8Array<ArrayBuffer> | undefined;
  /** The content of all IDAT chunks, end to end. */
  data: Uint8Array<ArrayBuffer>;
}

const signature = 8;
/** Length and type before a chunk's content. */
const frame = 8;
const [ihdr, plte, idat, trns, exif, iend] = ["IHDR", "PLTE", "IDAT", "tRNS", "eXIf", "IEND"].map(
  code,
);
const headerLength = 13;
/** Bytes of the longest palette. */
const longestPalette = 3 * 256;

/**
 * Splits a PNG file. Profiles, texts and the rest are left out: compressed ones inflate to a thousand times their length.
 * @throws {ModelFormatError} where the first chunk is no header, another one follows, a palette is too long, or the file ends inside a chunk.
 */
export function readPngChunks(bytes: Uint8Array<ArrayBuffer>, name: string): PngChunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < signature + frame + headerLength) {
    throw new ModelFormatError(`${name}: the PNG ends inside its header`);
  }
  const found: Partial<Record<number, Uint8Array<ArrayBuffer>>> = {};
  let dataLength = 0;
  walk(bytes, view, name, (type, content, at) => {
    if (type === idat) dataLength += content.length;
    // Decoders take the last header, and make room for it.
    else if ((type === ihdr) !== (at === signature)) {
      throw new ModelFormatError(
        `${name}: ${nameOf(type)} is at byte ${at}, expected one IHDR, at byte ${signature}`,
      );
    } else if (type === ihdr && content.length !== headerLength) {
      throw new ModelFormatError(
        `${name}: IHDR has ${content.length} bytes, expected ${headerLength}`,
      );
    } else if (type === plte && (content.length > longestPalette || content.length % 3 > 0)) {
      throw new ModelFormatError(
        `${name}: PLTE has ${content.length} bytes, expected three for each of at most 256 colours`,
      );
    } else if (type === plte || type === trns || type === exif || type === ihdr) {
      found[type] = content;
    }
  });
  const data = new Uint8Array(dataLength);
  let end = 0;
  walk(bytes, view, name, (type, content) => {
    if (type !== idat) return;
    data.set(content, end);
    end += content.length;
  });
  return {
    header: found[ihdr]!,
    palette: found[plte],
    transparency: found[trns],
    exif: found[exif],
    data,
  };
}

/** A PNG file of these chunks, with checksums of 0: for a decoder that does not look at them. */
export function plainPng(
  { header, palette, transparency, data }: Omit<PngChunks, "exif">,
): Uint8Array<ArrayBuffer> {
  const parts = ([
    [ihdr, header],
    [plte, palette],
    [trns, transparency],
    [idat, data],
    [iend, new Uint8Array(0)],
  ] as const).filter((part): part is [number, Uint8Array<ArrayBuffer>] => part[1] !== undefined);
  const out = new Uint8Array(
    parts.reduce((sum, [, content]) => sum + frame + content.length + 4, signature),
  );
  const view = new DataView(out.buffer);
  out.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  let at = signature;
  for (const [type, content] of parts) {
    view.setUint32(at, content.length);
    view.setUint32(at + 4, type);
    out.set(content, at + frame);
    at += frame + content.length + 4;
  }
  return out;
}

/** Visits the chunks up to IEND. */
function walk(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  name: string,
  visit: (type: number, content: Uint8Array<ArrayBuffer>, at: number) => void,
): void {
  for (let at = signature;;) {
    const start = at + frame;
    const length = start <= bytes.length ? view.getUint32(at) : 0;
    if (start + length > bytes.length) {
      throw new ModelFormatError(
        `${name}: the png data is damaged (it ends inside the chunk at byte ${at})`,
      );
    }
    const type = view.getUint32(at + 4);
    if (type === iend) return;
    visit(type, bytes.subarray(start, start + length), at);
    at = start + length + 4;
  }
}

function code(name: string): number {
  return [...name].reduce((sum, letter) => sum * 256 + letter.charCodeAt(0), 0);
}

function nameOf(type: number): string {
  return String.fromCharCode(...[24, 16, 8, 0].map((shift) => type >>> shift & 255));
}
