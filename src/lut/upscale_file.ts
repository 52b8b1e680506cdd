import { ModelFormatError } from "../common/errors.ts";
import { sameFile } from "../common/same_file.ts";
import { encodeY4mHeader, type Y4mHeader, Y4mReader } from "../formats/y4m.ts";
import { decodedColour } from "./decoded_colour.ts";
import { decodeVideo, IncompleteVideoError, VideoEncoder } from "./ffmpeg_pipe.ts";
import { probeVideo, type VideoColour } from "./probe_video.ts";
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
 * copies audio, subtitles and the title; every frame keeps its time, to the microsecond. A y4m without a rate counts as 25 frames
 * a second. Ends with the number of frames.
 *
 * What was written before a failure or an abort is a valid, shorter file.
 *
 * @throws {RangeError} when both paths lead to one file, before anything is written.
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
  await using source = await openSource(input);
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
  await sink.finish();
  return done;
}

interface Source extends AsyncDisposable {
  frames: AsyncIterable<VideoFrame>;
  total: number | undefined;
  /** What a y4m of these frames says. */
  header: Y4mHeader;
  /** The container it came from; absent for y4m. */
  path?: string;
  colour: VideoColour;
}

interface Sink extends AsyncDisposable {
  write(frame: VideoFrame): Promise<void>;
  finish(): Promise<void>;
}

/** What mjpegtools and ffmpeg write into a y4m of full range. */
const fullRange = "COLORRANGE=FULL";

function isY4m(path: string): boolean {
  return /\.y4m$/i.test(path);
}

async function openSource(input: string): Promise<Source> {
  if (isY4m(input)) {
    const file = await Deno.open(input);
    const reader = await Y4mReader.open(file.readable, input);
    return {
      frames: y4mFrames(reader),
      total: undefined,
      header: reader.header,
      colour: reader.header.comments.includes(fullRange) ? { range: "pc" } : {},
      // A failure before the first frame would leave the file open. Not awaited: a pipe may be stuck in a read.
      [Symbol.asyncDispose]: () => {
        reader.cancel().catch(() => {});
        return Promise.resolve();
      },
    };
  }
  const probe = await probeVideo(input);
  const { colour } = decodedColour(probe);
  return {
    frames: decodeVideo(input, probe),
    total: probe.frames,
    header: {
      width: probe.width,
      height: probe.height,
      layout: "420",
      rate: [Math.round(probe.rate * 1000), 1000],
      interlacing: "p",
      aspect: probe.aspect,
      comments: colour.range === "pc" ? [fullRange] : [],
    },
    path: input,
    colour,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A y4m file, created with its first frame. */
class Y4mSink implements Sink {
  readonly #output: string;
  readonly #header: Y4mHeader;
  #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>> | undefined;
  #open = true;

  constructor(output: string, source: Y4mHeader, scale: number) {
    this.#output = output;
    this.#header = enlargedHeader(source, scale);
  }

  async write(frame: VideoFrame): Promise<void> {
    // The frames' own size: a container's may be that before rotation or cropping.
    const writer = await this.#begun({ ...this.#header, width: frame.width, height: frame.height });
    for (const chunk of y4mChunks(frame)) await writer.write(chunk);
  }

  async finish(): Promise<void> {
    if (!this.#open) return;
    await this.#begun(this.#header);
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#writer?.close();
  }

  async #begun(header: Y4mHeader): Promise<WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>> {
    if (this.#writer) return this.#writer;
    this.#writer = (await Deno.create(this.#output)).writable.getWriter();
    await this.#writer.write(encodeY4mHeader(header));
    return this.#writer;
  }
}

function encoderSink(output: string, source: Source, { crf }: UpscaleFileOptions): Sink {
  const { layout, aspect } = source.header;
  if (layout !== "420") {
    throw new RangeError(
      `write ${output}: the input is ${
        layout === "mono" ? layout : [...layout].join(":")
      }, expected 4:2:0 for an encoder; write .y4m`,
    );
  }
  return new VideoEncoder(output, { soundFrom: source.path, colour: source.colour, aspect, crf });
}
