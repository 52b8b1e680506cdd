/**
 * Compressed video through ffmpeg's own program: decode to timed raw frames, encode from them. y4m needs none of this.
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";
import { rawMatroskaFrameHead, rawMatroskaHead, readRawMatroska } from "../formats/raw_matroska.ts";
import { decodedColour } from "./decoded_colour.ts";
import { type EncodeOptions, encoderArguments } from "./encoder_arguments.ts";
import { ffmpegPath, firstComplaint, killProcess, startFfmpeg } from "./ffmpeg_process.ts";
import { probeOthers, probeVideo, type VideoProbe } from "./probe_video.ts";
import { frameOf, type VideoFrame } from "./video_frame.ts";

/** ffmpeg gave fewer frames than the file declares, or failed: those that it gave are all there will be. */
export class IncompleteVideoError extends ModelFormatError {
  /** Frames that the file declares, as words, or undefined. */
  readonly declared: string | undefined;
  /** ffmpeg's first complaint. */
  readonly complaint: string;
  /** Names the file and the frames read. */
  constructor(
    path: string,
    frames: number,
    declared: string | undefined,
    complaint: string,
    cause?: unknown,
  ) {
    const read = declared === undefined ? "" : `${frames} of ${declared} frames could be read: `;
    super(`decode ${path}: ${read}${complaint}`, { cause });
    this.declared = declared;
    this.complaint = complaint;
  }
}

/** ffmpeg's Matroska counts milliseconds: of slowed time, to have microseconds of the true one. */
const slowed = 1000;

/**
 * The first video stream of a file as upright 4:2:0 frames with their own timestamps, to the microsecond (where the container's clock
 * `restarts`, counted from the file's start, without its jumps). Samples keep their range.
 * Interlaced frames are made progressive, one of each. `probe` is what `probeVideo` said of the file, asked for when absent. `signal` ends the
 * process even while it waits for its input.
 * @throws {IncompleteVideoError} with ffmpeg's words when it fails, or complains and gives fewer frames than the file declares,
 * after all frames it gave. Leaving the loop ends the process.
 */
export async function* decodeVideo(
  path: string,
  probe?: VideoProbe,
  signal?: AbortSignal,
): AsyncGenerator<VideoFrame> {
  const asked = probe ?? await probeVideo(path);
  const { filters, siting } = decodedColour(asked);
  const joined = asked.restarts &&
    (await probeOthers(path)).some(({ kind }) => kind === "audio" || kind === "subtitle");
  const child = startFfmpeg("ffmpeg", [
    ..."-v error -nostdin".split(" "),
    ...(asked.restarts ? [] : ["-copyts"]),
    "-i",
    ffmpegPath(path),
    // The clock is named: by default times snap to a guess of the frame rate.
    ..."-map 0:V:0 -fps_mode passthrough -enc_time_base:v 1:1000 -c:v rawvideo -vf".split(" "),
    // Enlarged, the lines of two fields could not be told apart any more.
    `${
      asked.interlaced ? "bwdif=mode=send_frame:deint=interlaced," : ""
    }${filters},settb=1/1000000,setpts=PTS*${slowed}`,
    ..."-f matroska -avoid_negative_ts make_non_negative -".split(" "),
    // Times are joined by the streams that are read: the encoder reads the same ones.
    ...(joined ? "-map 0:a? -map 0:s? -c copy -f null -".split(" ") : []),
  ]);
  const complaint = new Response(child.stderr).text();
  const stop = () => killProcess(child);
  signal?.addEventListener("abort", stop);
  let size = { width: 0, height: 0 }, broken: unknown, whole = false, count = 0, last = 0;
  try {
    for await (const { timestamp, bytes } of readRawMatroska(child.stdout, (s) => size = s, path)) {
      last = timestamp / slowed;
      count++;
      yield frameOf(bytes, "420", size.width, size.height, last, siting);
    }
    whole = true;
  } catch (error) {
    broken = error;
  } finally {
    signal?.removeEventListener("abort", stop);
    if (!whole) killProcess(child);
    await Promise.all([child.status, complaint]);
  }
  const { success } = await child.status;
  const words = (await complaint).trim();
  const failed = broken !== undefined || !success;
  if (failed || (words !== "" && isShort(asked, count, last))) {
    const said = words === "" && broken instanceof Error ? broken.message : firstComplaint(words);
    throw new IncompleteVideoError(path, count, declaredFrames(asked), said, broken);
  }
}

/** Whether `count` frames up to second `last` are fewer than declared. Edit lists do that too, but without a complaint. */
function isShort(
  { frames, duration, wholeFile: whole, start, rate }: VideoProbe,
  count: number,
  last: number,
): boolean {
  if (frames !== undefined) return count < frames;
  if (duration === undefined) return false;
  // Sound is often a little longer than the pictures, and some complaints mean nothing.
  const slack = Math.max(whole ? 1 : 0.1, rate > 0 ? 2 / rate : 0);
  // A hole in the middle shows in the count alone; an average rate is no more than about right.
  return count === 0 || last - start < duration - slack ||
    count < 0.98 * (duration - slack) * rate;
}

function declaredFrames({ frames, duration, rate }: VideoProbe): string | undefined {
  if (frames !== undefined) return String(frames);
  return duration && rate ? `about ${Math.round(duration * rate)}` : undefined;
}

/** Seconds for which a last picture has to stay to be repeated, and seconds before the end at which it is. */
const longStay = 0.5, repeated = 0.04;

/** A running encoder: frames in, a file out. */
export class VideoEncoder implements AsyncDisposable {
  readonly #path: string;
  readonly #options: EncodeOptions;
  #running: Running | undefined;
  #last: VideoFrame | undefined;
  #closed = false;

  /** Nothing is started or written before the first frame, whose size decides how to encode. */
  constructor(path: string, options: EncodeOptions = {}) {
    this.#path = path;
    this.#options = options;
  }

  /** Hands over one 4:2:0 frame; waits while the encoder is behind. */
  async write(frame: VideoFrame): Promise<void> {
    const running = this.#running ??= await this.#start(frame);
    this.#last = frame;
    const { writer } = running;
    try {
      if (!running.begun) {
        running.begun = true;
        await writer.write(rawMatroskaHead({ ...frame, range: this.#options.colour?.range }));
      }
      const bytes = frame.y.length + frame.u.length + frame.v.length;
      await writer.write(rawMatroskaFrameHead(frame.timestamp ?? 0, bytes));
      for (const plane of [frame.y, frame.u, frame.v]) await writer.write(plane);
    } catch (error) {
      const words = firstComplaint(await running.complaint);
      throw new Error(`encode ${this.#path}: ${words}`, { cause: error });
    }
  }

  /**
   * Ends the file, which is then whole. A picture that stays for long before `end` (seconds) is repeated shortly before it: encoders give none
   * a length, so that it would go at once.
   * @throws {Error} with ffmpeg's words when it fails; when no frame was written, since no container holds none.
   */
  async finish(end?: number): Promise<void> {
    if (this.#closed) return;
    if (this.#last && end !== undefined && end - (this.#last.timestamp ?? 0) > longStay) {
      await this.write({ ...this.#last, timestamp: end - repeated });
    }
    this.#closed = true;
    if (!this.#running) {
      throw new Error(`encode ${this.#path}: no frame was given, expected 1 or more`);
    }
    const { child, writer, complaint } = this.#running;
    await writer.close().catch(() => {}); // the process's own status says why
    const [{ success }, words] = await Promise.all([child.status, complaint]);
    // ffmpeg 5 ends well where the last bytes found no room.
    const lost = words.split("\n").find((line) =>
      /Error (writing trailer|closing file)/.test(line)
    );
    if (!success || lost !== undefined) {
      throw new Error(`encode ${this.#path}: ${firstComplaint(lost ?? words)}`);
    }
  }

  /** Stops the process, if it still runs, leaving what was written as a valid file where the format allows. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running) await this.finish().catch(() => {}); // whatever stopped us is already being thrown
    this.#closed = true;
  }

  async #start(frame: VideoFrame): Promise<Running> {
    const args = await encoderArguments(this.#path, frame, this.#options);
    const child = startFfmpeg("ffmpeg", args, "piped");
    child.stdout.cancel().catch(() => {}); // the file is named: nothing comes
    const writer = child.stdin.getWriter();
    // A process that has died rejects the write that finds out; the words are then in `finish`.
    writer.closed.catch(() => {});
    return { child, writer, complaint: new Response(child.stderr).text(), begun: false };
  }
}

interface Running {
  child: Deno.ChildProcess;
  writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  complaint: Promise<string>;
  begun: boolean;
}
