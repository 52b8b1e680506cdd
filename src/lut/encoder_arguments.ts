import { carriedStreams } from "./carried_streams.ts";
import { ffmpegPath } from "./ffmpeg_process.ts";
import type { VideoColour } from "./probe_video.ts";

/** How to encode. */
export interface EncodeOptions {
  /** File whose audio, subtitles, attachments, chapters and tags are taken over. */
  soundFrom?: string;
  /** Whether the clock of that file `restarts`, and the frames' times do not. */
  restarts?: boolean;
  /** Called with each stream of that file, in words, that the new one does not get. */
  onLeftOut?: (stream: string) => void;
  /** Language of the pictures by ISO 639-2, absent when unknown. */
  language?: string;
  /** Name of the stream of pictures, absent when it has none. */
  title?: string;
  colour?: VideoColour;
  /** Width to height of a pixel; 0:0 or absent is unknown. */
  aspect?: readonly [number, number];
  /** ffmpeg's encoder. Default libvpx-vp9 for .webm, libx264 for the rest. */
  codec?: string;
  /** Constant rate factor. Default 18. */
  crf?: number;
}

/** Transfers that ffprobe calls otherwise than ffmpeg's encoders, which know no other name: those of analogue television. */
const encoderTransfers: Readonly<Record<string, string>> = {
  bt470m: "gamma22",
  bt470bg: "gamma28",
};

/**
 * ffmpeg's arguments to encode a raw Matroska stream on its standard input to `path`. H.264 of an odd size has no 4:2:0, so it
 * becomes 4:4:4 rather than losing a line.
 */
export async function encoderArguments(
  path: string,
  { width, height, timestamp = 0 }: { width: number; height: number; timestamp?: number },
  options: EncodeOptions,
): Promise<string[]> {
  const webm = /\.webm$/i.test(path);
  const codec = options.codec ?? (webm ? "libvpx-vp9" : "libx264");
  const odd = codec === "libx264" && (width % 2 === 1 || height % 2 === 1);
  const joined = options.restarts && options.soundFrom !== undefined;
  const { range, space, primaries, transfer, siting } = options.colour ?? {};
  const from = `in_h_chr_pos=${siting === "center" ? 128 : 0}:in_v_chr_pos=${
    siting === "topleft" ? 0 : 128
  }`;
  const [n, d] = options.aspect ?? [0, 0];
  const filters = [
    ...(odd ? [`scale=in_range=${range ?? "tv"}:out_range=${range ?? "tv"}:${from}`] : []),
    ...(n > 0 && d > 0 ? [`setsar=${n}/${d}`] : []),
  ];
  const tags = Object.entries({
    color_range: range,
    colorspace: space,
    color_primaries: primaries,
    color_trc: transfer && (encoderTransfers[transfer] ?? transfer),
    chroma_sample_location: siting,
  }).flatMap(([name, value]) => value === undefined ? [] : [`-${name}`, value]);
  return [
    ..."-v error -y".split(" "),
    // Without the first flag ffmpeg joins times that jump, and has every input start at 0.
    ...(options.restarts ? ["-itsoffset", timestamp.toFixed(6)] : ["-copyts"]),
    ..."-f matroska -i -".split(" "),
    ...await soundArguments(path, options),
    ...(options.language === undefined ? [] : ["-metadata:s:v:0", `language=${options.language}`]),
    ...(options.title === undefined ? [] : ["-metadata:s:v:0", `title=${options.title}`]),
    ..."-fps_mode passthrough".split(" "),
    // Without it times snap to a guess of the frame rate. AVI knows nothing but a rate.
    ...(/\.avi$/i.test(path) ? [] : ["-enc_time_base:v", clockOf(codec)]),
    ...(filters.length > 0 ? ["-vf", filters.join(",")] : []),
    ...["-pix_fmt", odd ? "yuv444p" : "yuv420p", "-c:v", codec],
    ...(options.codec === undefined ? rateArguments(webm, options.crf ?? 18) : []),
    ...tags,
    ffmpegPath(path),
    // As `decodeVideo` has it.
    ...(joined ? "-map 1:V:0 -map 1:a? -map 1:s? -c copy -f null -".split(" ") : []),
  ];
}

/** Ticks that the encoder counts in: microseconds as our stream has, where its format can. */
function clockOf(codec: string): string {
  return /^(mpeg4|msmpeg4|h263|libxvid)/.test(codec) ? "1:1000" : "1:1000000";
}

function rateArguments(webm: boolean, crf: number): string[] {
  return webm
    ? [..."-deadline realtime -cpu-used 5 -row-mt 1 -b:v 0 -crf".split(" "), String(crf)]
    : ["-preset", "veryfast", "-crf", String(crf)];
}

async function soundArguments(
  path: string,
  { soundFrom, onLeftOut }: EncodeOptions,
): Promise<string[]> {
  if (soundFrom === undefined) return ["-map", "0:v"];
  const { args, leftOut } = await carriedStreams(soundFrom, path);
  for (const stream of leftOut) onLeftOut?.(stream);
  return ["-i", ffmpegPath(soundFrom), ...args, "-map_metadata", "1"];
}
