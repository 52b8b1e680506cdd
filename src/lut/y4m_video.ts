import { ModelFormatError } from "../common/errors.ts";
import { y4mFrameMark, type Y4mHeader, Y4mReader } from "../formats/y4m.ts";
import { type ChromaSiting, frameOf, type VideoFrame } from "./video_frame.ts";

/** Frames a second of a y4m stream that does not say, as ffmpeg has it. */
const assumedRate = [25, 1] as const;

const sitings: Readonly<Record<string, ChromaSiting>> = {
  "420mpeg2": "left",
  "420paldv": "topleft",
  "422": "left",
};

/** Where the chroma of a y4m stream lies, by its `C` tag. */
export function y4mSiting({ layout, colour = layout }: Y4mHeader): ChromaSiting {
  return sitings[colour] ?? "centre";
}

/** The `C` tag of 4:2:0 with chroma there. */
export function y4mColour(siting: ChromaSiting): string {
  return { centre: "420jpeg", left: "420mpeg2", topleft: "420paldv" }[siting];
}

/**
 * Opens a y4m stream to be enlarged.
 * @throws {ModelFormatError} as `Y4mReader.open`, and for interlaced frames: enlarged, the lines of two fields could not be told apart any more.
 */
export async function openY4mVideo(
  stream: AsyncIterable<Uint8Array>,
  name: string,
): Promise<Y4mReader> {
  const reader = await Y4mReader.open(stream, name);
  const { interlacing } = reader.header;
  if (/^[tbm]$/.test(interlacing)) {
    await reader.cancel();
    throw new ModelFormatError(
      `${name}: interlacing is ${interlacing}, expected p: make it progressive first, as ffmpeg's filter bwdif does`,
    );
  }
  return reader;
}

/** The frames of a y4m stream, timed by its rate; 25 frames a second are assumed where it has none. */
export async function* y4mFrames(reader: Y4mReader): AsyncGenerator<VideoFrame> {
  const { width, height, layout, rate } = reader.header;
  const siting = y4mSiting(reader.header);
  const [n, d] = rate[0] > 0 && rate[1] > 0 ? rate : assumedRate;
  let index = 0;
  for await (const bytes of reader) {
    yield frameOf(bytes, layout, width, height, index * d / n, siting);
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
