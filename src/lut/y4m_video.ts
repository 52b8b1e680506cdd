import { y4mFrameMark, type Y4mHeader, type Y4mReader } from "../formats/y4m.ts";
import { frameOf, type VideoFrame } from "./video_frame.ts";

/** The frames of a y4m stream, timed by its rate where it has one. */
export async function* y4mFrames(reader: Y4mReader): AsyncGenerator<VideoFrame> {
  const { width, height, layout, rate: [n, d] } = reader.header;
  let index = 0;
  for await (const bytes of reader) {
    const timestamp = n > 0 && d > 0 ? index * d / n : undefined;
    yield frameOf(bytes, layout, width, height, timestamp);
    index++;
  }
}

/** The header of the enlarged stream: everything but the size is kept. */
export function enlargedHeader(header: Y4mHeader, scale: number): Y4mHeader {
  return { ...header, width: header.width * scale, height: header.height * scale };
}

/** The chunks of one frame in a y4m stream. */
export function y4mChunks({ y, u, v }: VideoFrame): Uint8Array<ArrayBuffer>[] {
  return [y4mFrameMark, y, u, v].filter((part) => part.length > 0);
}
