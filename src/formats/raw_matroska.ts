/**
 * Uncompressed 4:2:0 video in Matroska, as a stream: how frames *with their times* pass to and from ffmpeg, which y4m cannot
 * carry. Only what that needs: one video track, one block a frame. Element numbers: RFC 9559.
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";
import { ByteQueue } from "./byte_queue.ts";

const ids = {
  ebml: 0x1a45dfa3,
  segment: 0x18538067,
  info: 0x1549a966,
  timestampScale: 0x2ad7b1,
  tracks: 0x1654ae6b,
  track: 0xae,
  video: 0xe0,
  width: 0xb0,
  height: 0xba,
  cluster: 0x1f43b675,
  clusterTime: 0xe7,
  simpleBlock: 0xa3,
  blockGroup: 0xa0,
  block: 0xa1,
} as const;
/** Elements whose children are read in place. */
const entered = new Set<number>([
  ids.segment,
  ids.info,
  ids.tracks,
  ids.track,
  ids.video,
  ids.cluster,
  ids.blockGroup,
]);
const maxElement = 1 << 30;

/** Seconds and the bytes of one frame (Y, Cb, Cr end to end). */
export interface TimedFrame {
  timestamp: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** Size of the pictures, known before the first frame. */
export interface PictureSize {
  width: number;
  height: number;
}

/**
 * Reads what `ffmpeg … -c:v rawvideo -pix_fmt yuv420p -f matroska -` writes. `onSize` is called before the first frame.
 * @throws {ModelFormatError} for damage or a cut, after all whole frames.
 */
export async function* readRawMatroska(
  stream: AsyncIterable<Uint8Array>,
  onSize: (size: PictureSize) => void,
  name = "matroska",
): AsyncGenerator<TimedFrame> {
  const queue = new ByteQueue(stream);
  let scale = 1_000_000, cluster = 0, width = 0, height = 0, told = false;
  const cut = (what: string) =>
    new ModelFormatError(`${name}: the stream ends inside ${what} at byte ${queue.offset}`);
  const variable = async (keepMark: boolean): Promise<number> => {
    const first = await queue.take(1);
    if (!first) throw cut("an element head");
    const length = Math.clz32(first[0]) - 23;
    if (length > 8) {
      throw new ModelFormatError(
        `${name}: an element head begins with 0 at byte ${queue.offset - 1}`,
      );
    }
    const rest = await queue.take(length - 1);
    if (!rest) throw cut("an element head");
    const start = keepMark ? first[0] : first[0] & ((1 << (8 - length)) - 1);
    const unknown = !keepMark && start === (1 << (8 - length)) - 1 && rest.every((b) => b === 255);
    return unknown ? Infinity : rest.reduce((value, byte) => value * 256 + byte, start);
  };
  try {
    while (await queue.fill(1)) {
      const id = await variable(true);
      const size = await variable(false);
      if (entered.has(id)) continue;
      if (size > maxElement) {
        throw new ModelFormatError(
          `${name}: element ${id.toString(16)} has ${size} bytes, expected at most ${maxElement}`,
        );
      }
      const data = await queue.take(size);
      if (!data) throw cut(`element ${id.toString(16)}`);
      const number = () => data.reduce((value, byte) => value * 256 + byte, 0);
      if (id === ids.timestampScale) scale = number();
      else if (id === ids.width) width = number();
      else if (id === ids.height) height = number();
      else if (id === ids.clusterTime) cluster = number();
      else if (id === ids.simpleBlock || id === ids.block) {
        const expected = width * height + 2 * ((width + 1) >> 1) * ((height + 1) >> 1);
        if (data.length !== expected + 4) {
          throw new ModelFormatError(
            `${name}: a frame has ${
              data.length - 4
            } bytes, expected ${expected} for ${width}x${height}`,
          );
        }
        if (!told) onSize({ width, height });
        told = true;
        const relative = new DataView(data.buffer).getInt16(1);
        yield { timestamp: (cluster + relative) * scale / 1e9, bytes: data.subarray(4) };
      }
    }
  } finally {
    await queue.cancel();
  }
}

/** Ticks of a microsecond: finer than any container's clock that ffmpeg would hand us milliseconds from. */
const tick = 1000;

/** The head of a stream of 4:2:0 pictures whose range is "pc" (full), "tv" (studio) or unknown. */
export function rawMatroskaHead(
  { width, height, range }: PictureSize & { range?: string },
): Uint8Array<ArrayBuffer> {
  const text = (id: number, value: string) => element(id, new TextEncoder().encode(value));
  const ebml = element(
    ids.ebml,
    join([
      integer(0x4286, 1),
      integer(0x42f7, 1),
      integer(0x42f2, 4),
      integer(0x42f3, 8),
      text(0x4282, "matroska"),
      integer(0x4287, 4),
      integer(0x4285, 2),
    ]),
  );
  const info = element(
    ids.info,
    join([integer(ids.timestampScale, tick), text(0x4d80, "sparrow"), text(0x5741, "sparrow")]),
  );
  const known = range === "pc" ? 2 : range === "tv" ? 1 : undefined;
  // Told with the samples, not only to the encoder, or a filter between them might convert.
  const colour = known === undefined ? [] : [element(0x55b0, integer(0x55b9, known))];
  const video = element(
    ids.video,
    join([
      integer(ids.width, width),
      integer(ids.height, height),
      text(0x2eb524, "I420"),
      ...colour,
    ]),
  );
  const track = element(
    ids.track,
    join([
      integer(0xd7, 1),
      integer(0x73c5, 1),
      integer(0x83, 1),
      // Absent, it means English.
      text(0x22b59c, "und"),
      text(0x86, "V_UNCOMPRESSED"),
      video,
    ]),
  );
  const open = Uint8Array.of(0x18, 0x53, 0x80, 0x67, 0x01, 255, 255, 255, 255, 255, 255, 255);
  return join([ebml, open, info, element(ids.tracks, track)]);
}

/** The bytes before one frame's own: a cluster of one block. */
export function rawMatroskaFrameHead(timestamp: number, bytes: number): Uint8Array<ArrayBuffer> {
  const time = integer(ids.clusterTime, Math.max(0, Math.round(timestamp * 1e9 / tick)));
  const block = join([
    Uint8Array.of(ids.simpleBlock),
    size(bytes + 4),
    Uint8Array.of(0x81, 0, 0, 0x80),
  ]);
  const clusterId = Uint8Array.of(0x1f, 0x43, 0xb6, 0x75);
  return join([clusterId, size(time.length + block.length + bytes), time, block]);
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** An eight-byte size field. */
function size(bytes: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(bytes) | 1n << 56n);
  return out;
}

function element(id: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const name: number[] = [];
  for (let rest = id; rest > 0; rest = Math.floor(rest / 256)) name.unshift(rest % 256);
  return join([Uint8Array.from(name), size(data.length), data]);
}

function integer(id: number, value: number): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, BigInt(value));
  return element(id, data);
}
