import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { encodeFrame, FrameDecoder } from "../../src/engine/frames.ts";

Deno.test("FrameDecoder gives back what encodeFrame wrote, however the stream is cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.json(), { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(40)),
      (jsons, cuts) => {
        const values = jsons.map((json) => JSON.parse(json));
        const frames = values.map(encodeFrame);
        const stream = new Uint8Array(frames.reduce((sum, frame) => sum + frame.length, 0));
        let at = 0;
        for (const frame of frames) {
          stream.set(frame, at);
          at += frame.length;
        }
        const decoder = new FrameDecoder();
        const received: unknown[] = [];
        at = 0;
        for (const cut of cuts) {
          received.push(...decoder.push(stream.subarray(at, Math.min(stream.length, at + cut))));
          at = Math.min(stream.length, at + cut);
        }
        received.push(...decoder.push(stream.subarray(at)));
        assertEquals(received, values);
      },
    ),
  );
});

Deno.test("FrameDecoder refuses a length that no frame has, before it takes memory for it", () => {
  assertThrows(
    () => new FrameDecoder().push(Uint8Array.of(255, 255, 255, 255)),
    RangeError,
    "4294967295 bytes",
  );
  assertThrows(() => new FrameDecoder().push(Uint8Array.of(1, 0, 0, 0, 0x7b)), SyntaxError);
});
