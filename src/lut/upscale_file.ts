import { ModelFormatError } from "../common/errors.ts";
import { sameFile } from "../common/same_file.ts";
import { encodeY4mHeader, type Y4mHeader } from "../formats/y4m.ts";
import { decodedColour } from "./decoded_colour.ts";
import { decodeVideo, IncompleteVideoError, VideoEncoder } from "./ffmpeg_pipe.ts";
import { probeVideo, type VideoColour } from "./probe_video.ts";
import type { VideoUpscaler } from "./video_upscaler.ts";
import type { VideoFrame } from "./video_frame.ts";
import {
  enlargedHeader,
  openY4mVideo,
  y4mChunks,
  y4mColour,
  y4mFrames,
  y4mSiting,
} from "./y4m_video.ts";

/** What to tell while a file is under way. */
export interface UpscaleFileOptions {
  /** Called after each frame; `total` is the container's own count, where it has one. */
  onFrame?: (done: number, total: number | undefined) => void;
  /** Ends the work; what was written so far is a valid file. */
  signal?: AbortSignal;
  /** Constant rate factor of the encoder; default 18. */
  crf?: number;
  /** Called with each stream that the output does not get, in words: its container has no room for it, or it is a cover or another video. */
  onLeftOut?: (stream: string) => void;
}

/**
 * Enlarges a video file into another. Files that end in `.y4m` are read and written here; any other goes through ffmpeg, which
 * takes over audio, subtitles (both coded anew where the container asks for it), attachments, chapters and tags; every frame keeps its time, to the microsecond.
 * A last picture that stays half a second or longer is written twice, since encoders give it no length.
 * Times of broadcasts (MPEG-TS and PS) count from their start, joined where the clock jumps. Interlaced video becomes progressive. A y4m without a rate counts as 25 frames a second. Ends with the number of frames.
 *
 * What was written before a failure or an abort is a valid, shorter file.
 *
 * @throws {RangeError} when both paths lead to one file, the output's ending is none or a picture's, or the input is a pipe and no y4m, before anything is written.
 * @throws {ModelFormatError} for an input that is damaged, cut or none; what could be read of it is in the output. But for y4m it has ffmpeg's words.
 * @throws {Deno.errors.NotFound} for a y4m that is not there.
 * @throws {Error} with ffmpeg's words when it cannot write the output, or is not installed.
 */
export async function upscaleFile(
  upscaler: VideoUpscaler,
  input: string,
  output: string,
  options: UpscaleFileOptions = {},
): Promise<number> {
  if (await sameFile(input, output)) {
    throw new RangeError(`write ${output}: it is the input ${input} itself, expected another file`);
  }
  if (!/\.[^./]+$/.test(output) || pictures.test(output)) {
    throw new RangeError(
      `write ${output}: the ending names no container of video, expected .y4m or, by ffmpeg, .mp4, .mkv, .webm and others`,
    );
  }
  await using source = await openSource(input, options.signal);
  await using sink = isY4m(output)
    ? new Y4mSink(output, source.header, upscaler.scale)
    : encoderSink(output, source, options);
  let done = 0;
  try {
    for await (const frame of upscaler.upscale(source.frames, { signal: options.signal })) {
      await sink.write(frame);
      done++;
      options.onFrame?.(done, source.total);
    }
  } catch (error) {
    if (!(error instanceof IncompleteVideoError) || done === 0) throw error;
    await sink.finish();
    const of = error.declared === undefined ? "" : ` of ${error.declared}`;
    throw new ModelFormatError(
      `enlarge ${input}: only ${done}${of} frames could be read and are in ${output}: ${error.complaint}`,
      { cause: error },
    );
  }
  // Where an edit list leaves pictures out, the container's length is not theirs.
  await sink.finish(source.total === undefined || source.total === done ? source.end : undefined);
  return done;
}

interface Source extends AsyncDisposable {
  frames: AsyncIterable<VideoFrame>;
  total: number | undefined;
  /** Seconds at which the last picture goes, where that is known. */
  end?: number;
  /** What a y4m of these frames says. */
  header: Y4mHeader;
  /** The container it came from; absent for y4m. */
  path?: string;
  language?: string;
  title?: string;
  restarts?: boolean;
  colour: VideoColour;
}

interface Sink extends AsyncDisposable {
  write(frame: VideoFrame): Promise<void>;
  finish(end?: number): Promise<void>;
}

/** Endings that ffmpeg takes, too, and then fails at, or writes what no viewer of pictures reads. */
const pictures = /\.(gif|a?png|jpe?g|webp|bmp|tiff?)$/i;

/** What mjpegtools and ffmpeg write into a y4m of full range. */
const fullRange = "COLORRANGE=FULL";

const ffmpegSiting = { centre: "center", left: "left", topleft: "topleft" } as const;

function isY4m(path: string): boolean {
  return /\.y4m$/i.test(path);
}

async function openSource(input: string, signal?: AbortSignal): Promise<Source> {
  if (isY4m(input)) {
    const file = await Deno.open(input);
    const reader = await openY4mVideo(file.readable, input);
    return {
      frames: y4mFrames(reader),
      total: undefined,
      header: reader.header,
      colour: {
        range: reader.header.comments.includes(fullRange) ? "pc" : undefined,
        siting: ffmpegSiting[y4mSiting(reader.header)],
      },
      // A failure before the first frame would leave the file open. Not awaited: a pipe may be stuck in a read.
      [Symbol.asyncDispose]: () => {
        reader.cancel().catch(() => {});
        return Promise.resolve();
      },
    };
  }
  if (await isPipe(input)) {
    throw new RangeError(
      `read ${input}: it is a pipe, which can be read but once; expected a file, or y4m`,
    );
  }
  const probe = await probeVideo(input, signal);
  const { colour, siting } = decodedColour(probe);
  const stop = new AbortController();
  const frames = decodeVideo(input, probe, stop.signal);
  return {
    frames,
    total: probe.frames,
    end: probe.end,
    header: {
      width: probe.width,
      height: probe.height,
      layout: "420",
      colour: y4mColour(siting),
      rate: probe.rateRatio,
      interlacing: "p",
      aspect: probe.aspect,
      comments: colour.range === "pc" ? [fullRange] : [],
    },
    path: input,
    language: probe.language,
    title: probe.title,
    restarts: probe.restarts,
    colour,
    // The upscaler reads ahead: its last read may still be under way.
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await frames.return(undefined).catch(() => {});
    },
  };
}

async function isPipe(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFifo === true;
  } catch (error) {
    // An address, or ffmpeg says it better.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A y4m file, created with its first frame. */
class Y4mSink implements Sink {
  readonly #output: string;
  readonly #header: Y4mHeader;
  #file: Deno.FsFile | undefined;
  #finished = false;

  constructor(output: string, source: Y4mHeader, scale: number) {
    this.#output = output;
    this.#header = enlargedHeader(source, scale);
  }

  async write(frame: VideoFrame): Promise<void> {
    // The frames' own size: a container's may be that before rotation or cropping.
    const { width, height } = frame;
    await this.#append({ ...this.#header, width, height }, y4mChunks(frame));
  }

  async finish(): Promise<void> {
    if (this.#finished) return;
    await this.#append(this.#header, []);
    await this[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#finished) this.#file?.close();
    this.#finished = true;
    return Promise.resolve();
  }

  async #append(header: Y4mHeader, chunks: Uint8Array<ArrayBuffer>[]): Promise<void> {
    try {
      if (!this.#file) {
        this.#file = await Deno.create(this.#output);
        await writeWhole(this.#file, encodeY4mHeader(header));
      }
      for (const chunk of chunks) await writeWhole(this.#file, chunk);
    } catch (error) {
      throw new Error(`write ${this.#output}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** Not by the file's own stream, which ends well where its last bytes found no room. */
async function writeWhole(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

function encoderSink(output: string, source: Source, options: UpscaleFileOptions): Sink {
  const { layout, aspect } = source.header;
  if (layout !== "420") {
    throw new RangeError(
      `write ${output}: the input is ${
        layout === "mono" ? layout : [...layout].join(":")
      }, expected 4:2:0 for an encoder; write .y4m`,
    );
  }
  const { path: soundFrom, language, title, restarts, colour } = source;
  const { crf, onLeftOut } = options;
  return new VideoEncoder(output, {
    soundFrom,
    language,
    title,
    restarts,
    colour,
    aspect,
    crf,
    onLeftOut,
  });
}
