import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
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

Deno.test("decodeImage gives back a smooth JPEG within a few levels", () => {
  const image = gradient(3);
  image.data.forEach((_, i) => image.data[i] = 60 + Math.floor(i / 3) % 24 * 4);
  const back = decodeImage(encodeImage(image, "jpeg", 95));
  assertEquals([back.width, back.height, back.channels], [24, 16, 3]);
  const worst = Math.max(...back.data.map((value, i) => Math.abs(value - image.data[i])));
  assert(worst <= 12, `differs by ${worst}`);
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
