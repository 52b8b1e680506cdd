import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import {
  encodeY4mHeader,
  y4mFrameBytes,
  y4mFrameMark,
  type Y4mHeader,
  Y4mReader,
} from "../../src/formats/y4m.ts";

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const header = fc.record({
  width: fc.integer({ min: 1, max: 9 }),
  height: fc.integer({ min: 1, max: 9 }),
  layout: fc.constantFrom("420", "422", "444", "mono"),
  rate: fc.tuple(fc.nat(60000), fc.nat(1001)),
  interlacing: fc.constantFrom("p", "t", "b", "m"),
  aspect: fc.tuple(fc.nat(100), fc.nat(100)),
  comments: fc.array(fc.constantFrom("YSCSS=420JPEG", "COLORRANGE=LIMITED"), { maxLength: 2 }),
}) as fc.Arbitrary<Y4mHeader>;

Deno.test("Y4mReader gives back header and frames of a stream cut into chunks of any size", async () => {
  await fc.assert(
    fc.asyncProperty(
      header,
      fc.nat(4),
      fc.integer({ min: 1, max: 50 }),
      async (head, count, size) => {
        const frames = Array.from(
          { length: count },
          (_, i) => new Uint8Array(y4mFrameBytes(head)).fill(i + 10),
        );
        const bytes = concat([
          encodeY4mHeader(head),
          ...frames.flatMap((frame) => [y4mFrameMark, frame]),
        ]);
        const reader = await Y4mReader.open(chunks(bytes, size));
        assertEquals(reader.header, { ...head, colour: head.layout });
        assertEquals(await Array.fromAsync(reader), frames);
      },
    ),
  );
});

Deno.test("Y4mReader ends any damaged stream with one ModelFormatError after its whole frames", async () => {
  const head: Y4mHeader = {
    width: 4,
    height: 2,
    layout: "420",
    rate: [25, 1],
    interlacing: "p",
    aspect: [1, 1],
    comments: [],
  };
  const frame = new Uint8Array(y4mFrameBytes(head)).fill(7);
  const bytes = concat([encodeY4mHeader(head), y4mFrameMark, frame, y4mFrameMark, frame]);
  await fc.assert(fc.asyncProperty(
    fc.nat(bytes.length - 1),
    fc.nat(255),
    fc.nat(bytes.length),
    async (place, value, length) => {
      const damaged = bytes.slice(0, length);
      if (place < length) damaged[place] = value;
      try {
        const reader = await Y4mReader.open(chunks(damaged, 5));
        for await (const one of reader) assertEquals(one.length, y4mFrameBytes(reader.header));
      } catch (error) {
        assert(error instanceof ModelFormatError, String(error));
      }
    },
  ));
});

Deno.test("Y4mReader names what it met in a bad header", async () => {
  for (
    const [line, words] of [
      ["RIFF W4 H4\n", "expected YUV4MPEG2"],
      ["YUV4MPEG2 W0 H4\n", "width is 0"],
      ["YUV4MPEG2 W4\n", "height is absent"],
      ["YUV4MPEG2 W4 H4 C420p10\n", "colour space is 420p10"],
      ["YUV4MPEG2 W4 H99999999\n", "height is 99999999"],
      ["YUV4MPEG2 W4 H4 F25\n", "F tag is 25"],
      ["", "no header line"],
      ["x".repeat(9000), "no header line"],
    ]
  ) {
    await assertRejects(
      () => Y4mReader.open(chunks(new TextEncoder().encode(line), 100)),
      ModelFormatError,
      words,
    );
  }
});
