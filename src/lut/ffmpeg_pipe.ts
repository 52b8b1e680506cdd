/**
 * Compressed video through ffmpeg's own program: decode to timed raw frames, encode from them. y4m needs none of this.
 * @module
 */

import { rawMatroskaFrameHead, rawMatroskaHead, readRawMatroska } from "../formats/raw_matroska.ts";
import { frameOf, type VideoFrame } from "./video_frame.ts";

/** What ffmpeg said of an input's first video stream. */
export interface VideoProbe {
  width: number;
  height: number;
  /** Frames by the container, or undefined. */
  frames: number | undefined;
  /** Seconds by the container, or undefined. */
  duration: number | undefined;
  /** Average frames a second, 0 when unknown. */
  rate: number;
  /** ffmpeg's names, absent when unspecified. */
  colour: { range?: string; space?: string; primaries?: string; transfer?: string };
}

/**
 * Asks ffprobe about `path`.
 * @throws {Error} when ffmpeg is not installed or cannot read the file, with its own words.
 */
export async function probeVideo(path: string): Promise<VideoProbe> {
  const out = await program("ffprobe", [
    ..."-v error -select_streams v:0 -of json -show_entries".split(" "),
    "stream=width,height,nb_frames,duration,avg_frame_rate,color_range,color_space,color_primaries,color_transfer:format=duration",
    path,
  ]).output();
  if (!out.success) {
    throw new Error(`read ${path}: ${new TextDecoder().decode(out.stderr).trim()}`);
  }
  const { streams, format } = JSON.parse(new TextDecoder().decode(out.stdout));
  const stream = streams?.[0];
  if (!stream?.width) throw new Error(`read ${path}: no video stream was found in it`);
  const [n, d] = String(stream.avg_frame_rate ?? "0/1").split("/").map(Number);
  const known = (text: unknown) =>
    typeof text === "string" && text !== "unknown" ? text : undefined;
  const seconds = Number(stream.duration ?? format?.duration);
  return {
    width: stream.width,
    height: stream.height,
    frames: stream.nb_frames ? Number(stream.nb_frames) : undefined,
    duration: Number.isFinite(seconds) ? seconds : undefined,
    rate: d > 0 ? n / d : 0,
    colour: {
      range: known(stream.color_range),
      space: known(stream.color_space),
      primaries: known(stream.color_primaries),
      transfer: known(stream.color_transfer),
    },
  };
}

/**
 * The first video stream of a file as 4:2:0 frames with their own timestamps.
 * @throws {Error} with ffmpeg's words when it fails, after all frames it gave. Leaving the loop ends the process.
 */
export async function* decodeVideo(path: string): AsyncGenerator<VideoFrame> {
  const child = program("ffmpeg", [
    ..."-v error -nostdin -copyts -i".split(" "),
    path,
    ..."-map 0:v:0 -fps_mode passthrough -c:v rawvideo -pix_fmt yuv420p -f matroska".split(" "),
    ..."-avoid_negative_ts make_non_negative -".split(" "),
  ], "null").spawn();
  const complaint = new Response(child.stderr).text();
  let size = { width: 0, height: 0 }, broken: unknown, whole = false;
  try {
    for await (const { timestamp, bytes } of readRawMatroska(child.stdout, (s) => size = s, path)) {
      yield frameOf(bytes, "420", size.width, size.height, timestamp);
    }
    whole = true;
  } catch (error) {
    broken = error;
  } finally {
    if (!whole) kill(child);
    await Promise.all([child.status, complaint]);
  }
  const { success } = await child.status;
  const words = await complaint;
  if (broken !== undefined || !success) {
    const said = words.trim() === "" && broken instanceof Error ? broken.message : lastLine(words);
    throw new Error(`decode ${path}: ${said}`, { cause: broken });
  }
}

/** How to encode. */
export interface EncodeOptions {
  /** File whose audio and subtitles are copied. */
  soundFrom?: string;
  colour?: VideoProbe["colour"];
  /** ffmpeg's encoder. Default libx264. */
  codec?: string;
  /** Constant rate factor. Default 18. */
  crf?: number;
}

/** A running encoder: frames in, a file out. */
export class VideoEncoder implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #complaint: Promise<string>;
  readonly #path: string;
  #begun = false;
  #closed = false;

  constructor(path: string, options: EncodeOptions = {}) {
    this.#path = path;
    const { range, space, primaries, transfer } = options.colour ?? {};
    const colour = Object.entries({
      color_range: range,
      colorspace: space,
      color_primaries: primaries,
      color_trc: transfer,
    }).flatMap(([name, value]) => value === undefined ? [] : [`-${name}`, value]);
    const sound = options.soundFrom === undefined ? ["-map", "0:v"] : [
      "-copyts",
      "-i",
      options.soundFrom,
      ..."-map 0:v -map 1:a? -map 1:s? -c:a copy -c:s copy".split(" "),
    ];
    this.#child = new Deno.Command("ffmpeg", {
      args: [
        ..."-v error -y -copyts -f matroska -i -".split(" "),
        ...sound,
        ..."-fps_mode passthrough -pix_fmt yuv420p -c:v".split(" "),
        options.codec ?? "libx264",
        ...(options.codec === undefined
          ? ["-preset", "veryfast", "-crf", `${options.crf ?? 18}`]
          : []),
        ...colour,
        path,
      ],
      stdin: "piped",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#complaint = new Response(this.#child.stderr).text();
    // A process that has died rejects the write that finds out; the words are then in `finish`.
    this.#writer.closed.catch(() => {});
  }

  /** Hands over one 4:2:0 frame; waits while the encoder is behind. */
  async write(frame: VideoFrame): Promise<void> {
    try {
      if (!this.#begun) {
        this.#begun = true;
        await this.#writer.write(rawMatroskaHead(frame));
      }
      const bytes = frame.y.length + frame.u.length + frame.v.length;
      await this.#writer.write(rawMatroskaFrameHead(frame.timestamp ?? 0, bytes));
      for (const plane of [frame.y, frame.u, frame.v]) await this.#writer.write(plane);
    } catch (error) {
      throw new Error(`encode ${this.#path}: ${lastLine(await this.#complaint)}`, { cause: error });
    }
  }

  /**
   * Ends the file, which is then whole.
   * @throws {Error} with ffmpeg's words when it fails.
   */
  async finish(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.close().catch(() => {}); // the process's own status says why
    const [{ success }, words] = await Promise.all([this.#child.status, this.#complaint]);
    if (!success) throw new Error(`encode ${this.#path}: ${lastLine(words)}`);
  }

  /** Stops the process, if it still runs, leaving what was written as a valid file where the format allows. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    if (this.#begun) return await this.finish().catch(() => {}); // whatever stopped us is already being thrown
    this.#closed = true;
    await this.#writer.abort().catch(() => {}); // nothing was written
    kill(this.#child);
    await Promise.all([this.#child.status, this.#complaint]);
  }
}

function program(
  name: string,
  args: string[],
  stdin: "null" | "piped" = "null",
): Deno.Command {
  return new Deno.Command(name, { args, stdin, stdout: "piped", stderr: "piped" });
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error; // already ended
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) || "ffmpeg failed without a word";
}
