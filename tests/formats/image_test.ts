import { assert, assertEquals, assertThrows } from "@std/assert";
// deno-lint-ignore no-external-import -- built into Deno
import { crc32, deflateSync } from "node:zlib";
import fc from "fast-check";
import { encode as encodePng } from "fast-png";
import { decodeBase64 } from "../../src/common/base64.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { decodeImage, encodeImage, type RgbaImage } from "../../src/formats/image.ts";

function gradient(channels: 3 | 4): RgbaImage {
  const data = Uint8Array.from({ length: 24 * 16 * channels }, (_, i) => (i * 3) & 255);
  return { width: 24, height: 16, channels, data };
}

Deno.test("decodeImage gives back an encoded PNG bit for bit, alpha included", () => {
  for (const channels of [3, 4] as const) {
    const image = gradient(channels);
    assertEquals(decodeImage(encodeImage(image, "png")), image);
  }
});

Deno.test("encodeImage refuses another format, a quality out of range and data of another length", () => {
  const image = gradient(3);
  for (const format of ["png", "jpeg"] as const) {
    const short = { ...image, data: image.data.subarray(1) };
    assertThrows(() => encodeImage(short, format), RangeError, "has 1151 bytes, expected 1152");
    const empty = { ...image, width: 0, height: 0, data: new Uint8Array() };
    assertThrows(() => encodeImage(empty, format), RangeError, "0x0 pixels, expected positive");
  }
  const webp = "webp" as "png";
  assertThrows(() => encodeImage(image, webp), RangeError, "format is webp, expected png or jpeg");
  for (const quality of [0, 101, NaN]) {
    assertThrows(() => encodeImage(image, "jpeg", quality), RangeError, `quality is ${quality}`);
  }
});

Deno.test("decodeImage gives back a smooth JPEG within a few levels", () => {
  const image = gradient(3);
  image.data.forEach((_, i) => image.data[i] = 60 + Math.floor(i / 3) % 24 * 4);
  const back = decodeImage(encodeImage(image, "jpeg", 95));
  assertEquals([back.width, back.height, back.channels], [24, 16, 3]);
  const worst = Math.max(...back.data.map((value, i) => Math.abs(value - image.data[i])));
  assert(worst <= 12, `differs by ${worst}`);
});

Deno.test("encodeImage lays what is transparent on white in a JPEG", () => {
  const data = Uint8Array.from(
    { length: 16 * 16 * 4 },
    (_, i) => [0, 0, 0, i < 512 ? 0 : 128][i % 4],
  );
  const back = decodeImage(encodeImage({ width: 16, height: 16, channels: 4, data }, "jpeg"));
  assert(back.data[0] >= 253, `transparent black became ${back.data[0]}`);
  assert(Math.abs(back.data.at(-1)! - 127) <= 3, `half of it became ${back.data.at(-1)}`);
});

Deno.test("encodeImage refuses a JPEG whose sides its header cannot hold", () => {
  const image = (width: number): RgbaImage => (
    { width, height: 1, channels: 3, data: new Uint8Array(3 * width).fill(99) }
  );
  assertEquals(decodeImage(encodeImage(image(65535), "jpeg")).width, 65535);
  assertThrows(() => encodeImage(image(65536), "jpeg"), RangeError, "at most 65535 a side");
  assertEquals(decodeImage(encodeImage(image(65536), "png")).width, 65536);
});

Deno.test("decodeImage refuses a PNG whose data is longer or shorter than its pixels, before it is inflated", () => {
  const png = (width: number, height: number, raw: number, interlaced = 0, colour = 2) => {
    const chunk = (type: string, data: Uint8Array) => {
      const all = new Uint8Array(12 + data.length);
      const view = new DataView(all.buffer);
      view.setUint32(0, data.length);
      all.set(new TextEncoder().encode(type), 4);
      all.set(data, 8);
      view.setUint32(8 + data.length, crc32(all.subarray(4, 8 + data.length)));
      return all;
    };
    const head = new Uint8Array(13);
    new DataView(head.buffer).setUint32(0, width);
    new DataView(head.buffer).setUint32(4, height);
    head.set([8, colour, 0, 0, interlaced], 8);
    const data = new Uint8Array(deflateSync(new Uint8Array(raw)));
    const parts = [
      Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10),
      chunk("IHDR", head),
      chunk("IDAT", data.subarray(0, 5)),
      chunk("IDAT", data.subarray(5)),
      chunk("IEND", new Uint8Array(0)),
    ];
    return Uint8Array.from(parts.flatMap((part) => [...part]));
  };
  assertEquals(decodeImage(png(8, 8, 8 * 25)).width, 8);
  assertEquals(decodeImage(png(8, 8, 8 * 25 + 10)).width, 8);
  // Seven passes of 1x1, 1x1, 2x1, 2x2, 4x2, 4x4 and 8x4 pixels.
  const passes = 4 + 4 + 7 + 2 * 7 + 2 * 13 + 4 * 13 + 4 * 25;
  assertEquals(decodeImage(png(8, 8, passes, 1)).height, 8);
  const refused = (bytes: Uint8Array<ArrayBuffer>, words: string) =>
    assertThrows(() => decodeImage(bytes), ModelFormatError, words);
  const start = Deno.memoryUsage().rss;
  refused(png(8, 8, 3e8), "the data of 8x8 pixels has more than 65736 bytes, expected 200");
  assert(Deno.memoryUsage().rss - start < 5e8, "it was inflated");
  refused(png(8, 8, 199), "has 199 bytes, expected 200");
  refused(png(8, 8, 200, 1), "has 200 bytes, expected 207");
  refused(png(0, 5, 5), "the image is 0x5, expected pixels");
});

Deno.test("decodeImage makes the colour that stands for nothing transparent", () => {
  const gray = encodePng({
    width: 3,
    height: 1,
    channels: 1,
    depth: 8,
    data: Uint8Array.of(7, 9, 7),
  });
  const rgb = encodePng({
    width: 2,
    height: 2,
    channels: 3,
    depth: 8,
    data: Uint8Array.of(1, 2, 3, 1, 2, 4, 9, 9, 9, 1, 2, 4),
  });
  /** The file with a tRNS chunk behind its header. */
  const keyed = (file: Uint8Array, ...key: number[]) => {
    const body = Uint8Array.from([0x74, 0x52, 0x4e, 0x53, ...key.flatMap((value) => [0, value])]);
    const ends = new DataView(new ArrayBuffer(8));
    ends.setUint32(0, 2 * key.length);
    ends.setUint32(4, crc32(body));
    const [length, crc] = [0, 4].map((at) => new Uint8Array(ends.buffer, at, 4));
    return Uint8Array.from([...file.slice(0, 33), ...length, ...body, ...crc, ...file.slice(33)]);
  };
  assertEquals([...decodeImage(keyed(gray, 7)).data], [7, 7, 7, 0, 9, 9, 9, 255, 7, 7, 7, 0]);
  assertEquals([...decodeImage(keyed(rgb, 1, 2, 4)).data], [
    ...[1, 2, 3, 255, 1, 2, 4, 0],
    ...[9, 9, 9, 255, 1, 2, 4, 0],
  ]);
});

Deno.test("decodeImage turns a JPEG upright as its Exif block says", () => {
  // Dark on the left, bright on the top right of what the camera's holder saw.
  const seen: RgbaImage = { width: 32, height: 16, channels: 3, data: new Uint8Array(32 * 16 * 3) };
  const level = (x: number, y: number) => x < 16 ? 20 : y < 8 ? 220 : 120;
  // Where the file has the pixel that is seen at (x, y), from Exif's table of where row 0 and column 0 are.
  const places: Record<number, (x: number, y: number) => [number, number]> = {
    1: (x, y) => [x, y],
    2: (x, y) => [31 - x, y],
    3: (x, y) => [31 - x, 15 - y],
    4: (x, y) => [x, 15 - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, 31 - x],
    7: (x, y) => [15 - y, 31 - x],
    8: (x, y) => [15 - y, x],
  };
  for (const [orientation, place] of Object.entries(places)) {
    const turned = Number(orientation) > 4;
    const [width, height] = turned ? [16, 32] : [32, 16];
    const data = new Uint8Array(seen.data.length);
    for (let y = 0; y < 16; y++) {
      for (let x = 0; x < 32; x++) {
        const [column, row] = place(x, y);
        data.fill(level(x, y), 3 * (row * width + column), 3 * (row * width + column) + 3);
      }
    }
    const plain = encodeImage({ width, height, channels: 3, data }, "jpeg", 95);
    for (const little of [true, false]) {
      const exif = new Uint8Array(36);
      const view = new DataView(exif.buffer);
      exif.set([
        0xff,
        0xe1,
        0,
        34,
        0x45,
        0x78,
        0x69,
        0x66,
        0,
        0,
        ...(little ? [0x49, 0x49] : [0x4d, 0x4d]),
      ]);
      view.setUint16(12, 42, little);
      view.setUint32(14, 8, little);
      view.setUint16(18, 1, little);
      view.setUint16(20, 0x0112, little);
      view.setUint16(22, 3, little);
      view.setUint32(24, 1, little);
      view.setUint16(28, Number(orientation), little);
      const back = decodeImage(Uint8Array.from([...plain.slice(0, 2), ...exif, ...plain.slice(2)]));
      assertEquals([back.width, back.height], [32, 16], `orientation ${orientation}`);
      for (const [x, y] of [[4, 4], [28, 2], [28, 13]]) {
        const found = back.data[3 * (y * 32 + x)];
        assert(
          Math.abs(found - level(x, y)) < 25,
          `orientation ${orientation}: ${found} at ${x}, ${y}`,
        );
      }
    }
  }
});

Deno.test("decodeImage takes a JPEG of RGB for one, by Adobe's block or its components' names", () => {
  // 16x8 pixels of one colour, written by libjpeg without its change to luma; Adobe's block has bytes 2 to 17.
  const adobe = decodeBase64(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZMTlJTUjI+WmFaUGBKUVJP/8AAEQgA" +
      "CAAQA1IRAEcRAEIRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAGB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAMA1IARwBCAAA/AKxKs9Af/9k=",
  );
  const named = Uint8Array.from([...adobe.subarray(0, 2), ...adobe.subarray(18)]);
  for (const file of [adobe, named]) {
    const { data } = decodeImage(file);
    [200, 60, 20].forEach((level, c) => {
      assert(Math.abs(data[c] - level) < 12, `${data.subarray(0, 3)}, expected 200,60,20`);
    });
  }
  // JFIF's block knows luma and colour differences only, whatever the components are called.
  const jfif = [0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];
  const { data } = decodeImage(
    Uint8Array.from([...named.subarray(0, 2), ...jfif, ...named.subarray(2)]),
  );
  assert(data[1] > 200, `${data.subarray(0, 3)}`);
});

Deno.test("decodeImage refuses more pixels than are asked for, of either format", () => {
  for (const format of ["png", "jpeg"] as const) {
    const bytes = encodeImage(gradient(3), format);
    assertEquals(decodeImage(bytes, "x", 24 * 16).width, 24);
    const decode = () => decodeImage(bytes, "x", 24 * 16 - 1);
    assertThrows(
      decode,
      ModelFormatError,
      format === "png" ? "384 pixels" : "more than 383 pixels",
    );
  }
});

Deno.test("decodeImage ends damaged files with ModelFormatError or pixels, never otherwise", () => {
  for (const format of ["png", "jpeg"] as const) {
    const bytes = encodeImage(gradient(3), format);
    fc.assert(
      fc.property(
        fc.nat(bytes.length - 1),
        fc.nat(255),
        fc.nat(bytes.length),
        (place, value, length) => {
          const damaged = bytes.slice(0, length);
          if (place < length) damaged[place] = value;
          try {
            const image = decodeImage(damaged);
            assertEquals(image.data.length, image.width * image.height * image.channels);
          } catch (error) {
            assert(error instanceof ModelFormatError, String(error));
          }
        },
      ),
      { numRuns: 200 },
    );
  }
  assertThrows(
    () => decodeImage(new TextEncoder().encode("GIF89a")),
    ModelFormatError,
    "neither PNG nor JPEG",
  );
});
