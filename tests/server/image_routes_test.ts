import { assertEquals, assertStringIncludes } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { decodeImage, encodeImage, sniffImage } from "../../src/formats/image.ts";
import { upscaleImage } from "../../src/lut/upscale_image.ts";
import { videoSurface } from "../../src/server/video_surface.ts";
import { needsNative } from "../support/needs_native.ts";
import { testApp } from "../support/test_app.ts";

nativeProblem();

const picture = {
  width: 11,
  height: 7,
  channels: 3 as const,
  data: Uint8Array.from({ length: 11 * 7 * 3 }, (_, i) => 30 + (i * 13) % 180),
};

const post = (query: string, body: BodyInit, headers: Record<string, string> = {}) =>
  testApp({}, {}, [videoSurface()]).app.fetch(
    new Request(`http://localhost/v1/images/upscale${query}`, { method: "POST", body, headers }),
  );

Deno.test("POST /v1/images/upscale answers what upscaleImage gives, in the kind sent or asked for", async (t) => {
  if (!needsNative(t)) return;
  const png = encodeImage(picture, "png");
  const response = await post("?scale=3", png);
  assertEquals([response.status, response.headers.get("Content-Type")], [200, "image/png"]);
  assertEquals(
    decodeImage(new Uint8Array(await response.arrayBuffer())),
    upscaleImage(picture, 3),
  );
  const jpeg = await post("", png, { Accept: "image/jpeg" });
  assertEquals(jpeg.headers.get("Content-Type"), "image/jpeg");
  const bytes = new Uint8Array(await jpeg.arrayBuffer());
  assertEquals([sniffImage(bytes), decodeImage(bytes).width], ["jpeg", 44]);
  const again = await post("?scale=2", bytes);
  assertEquals(again.headers.get("Content-Type"), "image/jpeg");
  await again.body?.cancel();
});

Deno.test("POST /v1/images/upscale refuses what is no picture, is damaged, or is too large", async () => {
  const png = encodeImage(picture, "png");
  const huge = png.slice();
  new DataView(huge.buffer).setUint32(16, 1 << 20);
  for (
    const [query, body, words] of [
      ["", new Uint8Array(), "empty"],
      ["", "GIF89a", "neither PNG nor JPEG"],
      ["", png.slice(0, 60), "damaged"],
      ["", huge, "at most 2088960"],
      ["?scale=5", png, "expected 2, 3 or 4"],
    ] as const
  ) {
    const response = await post(query, body);
    assertEquals(response.status, 400, words);
    assertStringIncludes((await response.json()).error.message, words);
  }
});

Deno.test("POST /v1/images/upscale counts a client that leaves as one, while it sends and while it waits", async (t) => {
  if (!needsNative(t)) return;
  const png = encodeImage(picture, "png");
  for (const whole of [false, true]) {
    const client = new AbortController();
    const body = new ReadableStream<Uint8Array>({
      start(stream) {
        stream.enqueue(png);
        if (whole) stream.close();
        else client.signal.addEventListener("abort", () => stream.error(new Error("cut")));
      },
    });
    const request = new Request("http://localhost/v1/images/upscale", {
      method: "POST",
      body,
      signal: client.signal,
    });
    const answer = testApp({}, {}, [videoSurface()]).app.fetch(request);
    setTimeout(() => client.abort(), 20);
    assertEquals((await answer).status, 499);
  }
});
