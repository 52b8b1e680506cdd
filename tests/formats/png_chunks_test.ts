import { assert, assertEquals, assertThrows } from "@std/assert";
// deno-lint-ignore no-external-import -- built into Deno
import { deflateSync } from "node:zlib";
import { ModelFormatError } from "../../src/common/errors.ts";
import { decodeImage } from "../../src/formats/image.ts";

type Chunk = [type: string, content: ArrayLike<number>];

/** A PNG of these chunks; nobody looks at checksums. */
function png(...chunks: Chunk[]): Uint8Array<ArrayBuffer> {
  const size = chunks.reduce((sum, [, content]) => sum + 12 + content.length, 8);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  out.set([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  let at = 8;
  for (const [type, content] of chunks) {
    view.setUint32(at, content.length);
    out.set(new TextEncoder().encode(type), at + 4);
    out.set(content, at + 8);
    at += 12 + content.length;
  }
  return out;
}

function header(width: number, height: number, depth = 8, colour = 2, interlaced = 0): Chunk {
  const content = new Uint8Array(13);
  new DataView(content.buffer).setUint32(0, width);
  new DataView(content.buffer).setUint32(4, height);
  content.set([depth, colour, 0, 0, interlaced], 8);
  return ["IHDR", content];
}

const data = (...raw: number[]): Chunk => ["IDAT", deflateSync(Uint8Array.from(raw))];
const end: Chunk = ["IEND", []];
const refused = (words: string, ...chunks: Chunk[]) =>
  assertThrows(() => decodeImage(png(...chunks)), ModelFormatError, words);

Deno.test("decodeImage refuses a PNG of two headers, or one that is not the first chunk", () => {
  const small = header(1, 1), pixel = data(0, 1, 2, 3);
  refused("IHDR is at byte 33, expected one IHDR, at byte 8", small, header(1, 1), pixel, end);
  refused("tEXt is at byte 8, expected one IHDR", ["tEXt", new Uint8Array(13)], small, pixel, end);
  refused("IHDR has 14 bytes, expected 13", ["IHDR", new Uint8Array(14)], pixel, end);
  refused("ends inside the chunk at byte", small, pixel);
});

Deno.test("decodeImage inflates nothing of a PNG but its pixels", () => {
  const bomb = deflateSync(new Uint8Array(3e8));
  const profile: Chunk = ["iCCP", Uint8Array.from([0x61, 0, 0, ...bomb])];
  const start = Deno.memoryUsage().rss;
  const image = decodeImage(png(header(1, 1), profile, data(0, 1, 2, 3), end));
  assertEquals([...image.data], [1, 2, 3]);
  assert(Deno.memoryUsage().rss - start < 2e8, "it was inflated");
});

Deno.test("decodeImage refuses pixel data that zlib does, which other libraries inflate without a limit", () => {
  const sum = deflateSync(Uint8Array.of(0, 1, 2, 3));
  sum[sum.length - 1] ^= 1;
  refused("the png data is damaged (incorrect data check)", header(1, 1), ["IDAT", sum], end);
});

Deno.test("decodeImage refuses a palette of more colours than an index can name, and one that is absent", () => {
  const pixel = data(0, 1);
  const indexed = header(1, 1, 8, 3);
  refused("PLTE has 771 bytes", indexed, ["PLTE", new Uint8Array(771)], pixel, end);
  refused("the PNG has no PLTE", indexed, pixel, end);
  const image = decodeImage(png(indexed, ["PLTE", [1, 2, 3, 4, 5, 6]], ["tRNS", [9]], pixel, end));
  assertEquals([...image.data], [4, 5, 6, 255]);
});

Deno.test("decodeImage takes a suggested palette of an RGB PNG for no more than that", () => {
  const image = decodeImage(png(header(1, 1), ["PLTE", [9, 9, 9]], data(0, 1, 2, 3), end));
  assertEquals([...image.data], [1, 2, 3]);
});

Deno.test("decodeImage knows the transparent colour of a single pixel, and one of sixteen bits", () => {
  const one = png(header(1, 1), ["tRNS", [0, 1, 0, 2, 0, 3]], data(0, 1, 2, 3), end);
  assertEquals([...decodeImage(one).data], [1, 2, 3, 0]);
  // Equal in the upper eight bits alone is not equal.
  const deep = png(header(2, 1, 16, 0), ["tRNS", [10, 1]], data(0, 10, 1, 10, 2), end);
  const alphas = decodeImage(deep).data.filter((_, i) => i % 4 === 3);
  assertEquals([...alphas], [0, 255]);
});

Deno.test("decodeImage puts interlaced samples of less than a byte where they belong", () => {
  for (const [depth, width, height] of [[1, 13, 9], [2, 9, 10], [4, 3, 2], [4, 1, 7], [2, 1, 1]]) {
    const value = (x: number, y: number) => (5 * x + 3 * y + x * y) % 2 ** depth;
    const raw: number[] = [];
    // The eight by eight pixels of the specification's figure say which pass each is of.
    const figure = ["16462646", "77777777", "56565656", "77777777"];
    const passOf = (x: number, y: number) =>
      y % 8 === 4 ? Number("36463646"[x % 8]) : Number(figure[y % 4][x % 8]);
    for (let pass = 1; pass <= 7; pass++) {
      for (let y = 0; y < height; y++) {
        const row = Array.from({ length: width }, (_, x) => x).filter((x) => passOf(x, y) === pass);
        if (row.length === 0) continue;
        const bits = row.map((x) => value(x, y).toString(2).padStart(depth, "0")).join("");
        raw.push(0, ...bits.match(/.{1,8}/g)!.map((byte) => parseInt(byte.padEnd(8, "0"), 2)));
      }
    }
    const palette = Array.from({ length: 3 * 2 ** depth }, (_, i) => (i * 7) % 251);
    for (const colour of [0, 3]) {
      const parts: Chunk[] = colour === 3 ? [["PLTE", palette], ["tRNS", [9]]] : [];
      const whole = png(header(width, height, depth, colour, 1), ...parts, data(...raw), end);
      const image = decodeImage(whole);
      assertEquals([image.width, image.height], [width, height]);
      for (let i = 0; i < width * height; i++) {
        const sample = value(i % width, Math.floor(i / width));
        const grey = Math.round(sample * 255 / (2 ** depth - 1));
        const expected = colour === 0
          ? [grey, grey, grey]
          : [...palette.slice(3 * sample, 3 * sample + 3), sample === 0 ? 9 : 255];
        const at = i * expected.length;
        assertEquals(
          [...image.data.subarray(at, at + expected.length)],
          expected,
          `${depth}: ${i}`,
        );
      }
    }
  }
});

Deno.test("decodeImage refuses depths that there are not", () => {
  refused("the colour type is 2 of 7 bits", header(1, 1, 7), data(0, 1, 2, 3), end);
});

Deno.test("decodeImage turns a PNG upright as its eXIf chunk says", () => {
  const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0];
  const row = data(0, 10, 20, 30);
  const image = decodeImage(png(header(3, 1, 8, 0), ["eXIf", tiff], row, end));
  assertEquals([image.width, image.height], [1, 3]);
  assertEquals([...image.data.filter((_, i) => i % 3 === 0)], [10, 20, 30]);
});
