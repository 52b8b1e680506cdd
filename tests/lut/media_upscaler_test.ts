import { assert, assertEquals, assertRejects } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { decodeImage, encodeImage } from "../../src/formats/image.ts";
import { encodeY4mHeader, y4mFrameMark, Y4mReader } from "../../src/formats/y4m.ts";
import { LutMediaUpscaler } from "../../src/lut/media_upscaler.ts";
import { upscaleImage } from "../../src/lut/upscale_image.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();
const never = { signal: new AbortController().signal };
const picture = {
  width: 12,
  height: 8,
  channels: 4 as const,
  data: Uint8Array.from({ length: 12 * 8 * 4 }, (_, i) => i % 4 === 3 ? 255 : 40 + (i * 7) % 150),
};
const png = `data:image/png;base64,${encodeImage(picture, "png").toBase64()}`;

Deno.test("LutMediaUpscaler gives a node's image as upscaleImage does, by scale or by size", async (t) => {
  if (!needsNative(t)) return;
  const upscaler = new LutMediaUpscaler();
  for (const options of [{ scale: 3 }, { width: 36, height: 24 }, { height: 24 }]) {
    const out = await upscaler.upscale(png, options, never);
    const image = decodeImage(Uint8Array.fromBase64(out.slice("data:image/png;base64,".length)));
    assertEquals(image, upscaleImage(picture, 3));
    assert(image.data.every((value, i) => i % 4 !== 3 || value === 255), "opaque stays opaque");
  }
});

Deno.test("LutMediaUpscaler enlarges every frame of a y4m node", async (t) => {
  if (!needsNative(t)) return;
  const header = {
    width: 8,
    height: 6,
    rate: [25, 1] as const,
    interlacing: "p",
    aspect: [1, 1] as const,
    comments: [],
  };
  for (const [layout, bytes] of [["444", 144], ["mono", 48]] as const) {
    const clip = new Blob([
      encodeY4mHeader({ ...header, layout }),
      ...[99, 120, 121].flatMap((grey) => [y4mFrameMark, new Uint8Array(bytes).fill(grey)]),
    ]);
    const url = `data:video/x-yuv4mpeg;base64,${
      new Uint8Array(await clip.arrayBuffer()).toBase64()
    }`;
    const out = await new LutMediaUpscaler().upscale(url, { scale: 2 }, never);
    const reader = await Y4mReader.open(
      new Blob([Uint8Array.fromBase64(out.slice(out.indexOf(",") + 1))]).stream(),
    );
    const { width, height } = reader.header;
    assertEquals([width, height, reader.header.layout], [16, 12, layout]);
    assertEquals((await Array.fromAsync(reader)).length, 3);
    await assertRejects(
      () => new LutMediaUpscaler({ maxPixels: 47 }).upscale(url, { scale: 2 }, never),
      ModelFormatError,
      "at most 47 pixels",
    );
  }
});

Deno.test("LutMediaUpscaler says what it cannot do", async () => {
  const upscaler = new LutMediaUpscaler();
  const refused = (url: string, options: Record<string, number>, words: string) =>
    assertRejects(() => upscaler.upscale(url, options, never), RangeError, words);
  await refused("hello", {}, "no data URL");
  await refused("data:audio/wav;base64,AAAA", {}, "audio/wav");
  await refused("data:image/png;base64,%%%", {}, "not base64");
  await refused(png, { scale: 2.5 }, "by 2, 3 or 4");
  await refused(png, { scale: 2, width: 99 }, "by 2, 3 or 4");
  await assertRejects(
    () => new LutMediaUpscaler({ maxPixels: 95 }).upscale(png, {}, never),
    ModelFormatError,
    "at most 95",
  );
  await assertRejects(
    () => upscaler.upscale("data:image/png;base64,AAAA", {}, never),
    ModelFormatError,
    "neither PNG nor JPEG",
  );
});
