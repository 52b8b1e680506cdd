import { encodeY4mHeader, Y4mReader } from "../formats/y4m.ts";
import { decodeVideo, probeVideo, VideoEncoder } from "./ffmpeg_pipe.ts";
import type { VideoUpscaler } from "./video_upscaler.ts";
import type { VideoFrame } from "./video_frame.ts";
import { enlargedHeader, y4mChunks, y4mFrames } from "./y4m_video.ts";

/** What to tell while a file is under way. */
export interface UpscaleFileOptions {
  /** Called after each frame; `total` is the container's own count, where it has one. */
  onFrame?: (done: number, total: number | undefined) => void;
  /** Ends the work; what was written so far is a valid file. */
  signal?: AbortSignal;
  /** Constant rate factor of the encoder; default 18. */
  crf?: number;
}

/**
 * Enlarges a video file into another. Files that end in `.y4m` are read and written here; any other goes through ffmpeg, which
 * copies audio and subtitles; every frame keeps its time. Ends with the number of frames.
 *
 * What was written before a failure or an abort is a valid, shorter file.
 *
 * @throws {ModelFormatError} for a damaged y4m.
 * @throws {Error} with ffmpeg's words when it fails or is not installed.
 */
export async function upscaleFile(
  upscaler: VideoUpscaler,
  input: string,
  output: string,
  options: UpscaleFileOptions = {},
): Promise<number> {
  const source = await openSource(input);
  const sink = output.endsWith(".y4m")
    ? await y4mSink(output, source, upscaler.scale)
    : encoderSink(output, source, options);
  await using _closing = sink;
  let done = 0;
  for await (const frame of upscaler.upscale(source.frames, { signal: options.signal })) {
    await sink.write(frame);
    done++;
    options.onFrame?.(done, source.total);
  }
  await sink.finish();
  return done;
}

interface Source {
  frames: AsyncIterable<VideoFrame>;
  total: number | undefined;
  /** The y4m it came from. */
  reader?: Y4mReader;
  /** The container it came from. */
  path?: string;
  width: number;
  height: number;
  rate: number;
  colour?: Awaited<ReturnType<typeof probeVideo>>["colour"];
}

interface Sink extends AsyncDisposable {
  write(frame: VideoFrame): Promise<void>;
  finish(): Promise<void>;
}

async function openSource(input: string): Promise<Source> {
  if (input.endsWith(".y4m")) {
    const file = await Deno.open(input);
    const reader = await Y4mReader.open(file.readable, input);
    const { width, height, rate: [n, d] } = reader.header;
    return {
      frames: y4mFrames(reader),
      total: undefined,
      reader,
      width,
      height,
      rate: d ? n / d : 0,
    };
  }
  const { width, height, frames, rate, colour } = await probeVideo(input);
  return { frames: decodeVideo(input), total: frames, path: input, width, height, rate, colour };
}

async function y4mSink(output: string, source: Source, scale: number): Promise<Sink> {
  const header = source.reader?.header ?? {
    width: source.width,
    height: source.height,
    layout: "420" as const,
    rate: [Math.round(source.rate * 1000), 1000] as const,
    interlacing: "p",
    aspect: [0, 0] as const,
    comments: [],
  };
  const file = await Deno.create(output);
  const writer = file.writable.getWriter();
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    await writer.close();
  };
  await writer.write(encodeY4mHeader(enlargedHeader(header, scale)));
  return {
    async write(frame) {
      for (const chunk of y4mChunks(frame)) await writer.write(chunk);
    },
    finish: close,
    [Symbol.asyncDispose]: close,
  };
}

function encoderSink(output: string, source: Source, { crf }: UpscaleFileOptions): Sink {
  const layout = source.reader?.header.layout ?? "420";
  if (layout !== "420") {
    throw new RangeError(
      `write ${output}: the input is 4:${
        layout.slice(1).split("").join(":")
      }, expected 4:2:0 for an encoder; write .y4m`,
    );
  }
  return new VideoEncoder(output, { soundFrom: source.path, colour: source.colour, crf });
}
