import { assertEquals, assertRejects } from "@std/assert";
import { GraphSession, input, output, semanticFunction } from "../../src/client/mod.ts";
import { decodeImage, encodeImage } from "../../src/formats/image.ts";
import { needsNative } from "../support/needs_native.ts";
import { startParrot } from "./parrot_support.ts";

Deno.test("one graph mixes text and pixels: a call reads the picture that an upscale node enlarged", async (t) => {
  if (!needsNative(t)) return;
  await using server = await startParrot({}, { answer: (prompt) => `${prompt.length} characters` });
  await using session = new GraphSession({ fetch: server.fetch });
  const width = 12;
  const height = 8;
  const data = Uint8Array.from(
    { length: width * height * 3 },
    (_, i) => (i * 7) % 256,
  );
  const png = encodeImage({ width, height, channels: 3, data }, "png");
  const small = session.variable("picture", `data:image/png;base64,${png.toBase64()}`);
  const big = session.upscale(small, { scale: 2 });
  const describe = semanticFunction`Describe ${input("what")}: ${
    output("text", { maxTokens: 20 })
  }`;
  const { text } = session.call(describe, { what: big });
  const enlarged = decodeImage(new Uint8Array(await big.bytes()), "enlarged");
  assertEquals([enlarged.width, enlarged.height], [24, 16]);
  assertEquals(/^\d+ characters$/.test(await text.get()), true);
});

Deno.test("an upscale node refuses a picture of more pixels than the other routes take", async () => {
  await using server = await startParrot();
  await using session = new GraphSession({ fetch: server.fetch });
  const data = new Uint8Array(12);
  const huge = encodeImage({ width: 2, height: 2, channels: 3, data }, "png");
  new DataView(huge.buffer).setUint32(16, 1 << 20);
  const big = session.upscale(
    session.variable("picture", `data:image/png;base64,${huge.toBase64()}`),
    { scale: 2 },
  );
  await assertRejects(() => big.get(), Error, "at most 2088960");
});

Deno.test("an upscale node refuses by name what tables do not know", async () => {
  await using server = await startParrot();
  await using session = new GraphSession({ fetch: server.fetch });
  const options = { scale: 2, detail: 0.5 };
  const big = session.upscale(session.variable("picture", "data:image/png;base64,"), options);
  await assertRejects(() => big.get(), Error, "detail");
});
