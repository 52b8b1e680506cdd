import { ModelFormatError } from "../common/errors.ts";
import { ffmpegPath, firstComplaint, killProcess, startFfmpeg } from "./ffmpeg_process.ts";

/** What ffmpeg said of an input's first video stream. */
export interface VideoProbe {
  /** Columns of the upright picture. */
  width: number;
  /** Rows of the upright picture. */
  height: number;
  /** Frames by the container, or undefined. */
  frames: number | undefined;
  /** Seconds by the container, or undefined. */
  duration: number | undefined;
  /** Whether `duration` is that of the file's longest stream, since the container has none of this one's. */
  wholeFile: boolean;
  /** Seconds at which its last picture goes, by the container, or undefined; always where `restarts`. */
  end: number | undefined;
  /** Seconds at which the file's first stream starts; 0 where `restarts`. */
  start: number;
  /**
   * Whether the container's clock starts anywhere and may jump, as in broadcasts: its times mean something only after ffmpeg has joined them,
   * from 0 on.
   */
  restarts: boolean;
  /** Average frames a second, 0 when unknown. */
  rate: number;
  /** The same as a fraction; 0:0 when unknown. */
  rateRatio: readonly [number, number];
  /** Whether its frames are two fields each, of different times. */
  interlaced: boolean;
  /** ISO 639-2 code of its language, or undefined. */
  language: string | undefined;
  /** Name of the stream, which is not that of the file, or undefined. */
  title: string | undefined;
  /** Width to height of a pixel of the upright picture; 0:0 is unknown. */
  aspect: readonly [number, number];
  /** ffmpeg's name of the pixel format. */
  pixels: string;
  /** ffmpeg's names, absent when unspecified. */
  colour: VideoColour;
}

/** Tags of a stream by ffmpeg's names, absent when unspecified. */
export interface VideoColour {
  range?: string;
  space?: string;
  primaries?: string;
  transfer?: string;
  /** Where chroma lies. */
  siting?: string;
}

/**
 * Asks ffprobe about `path`. A cover is no video stream. `signal` ends the asking, which may wait for ever for a pipe or a network.
 * @throws {Error} when ffmpeg is not installed or cannot read the file, with its own words.
 */
export async function probeVideo(path: string, signal?: AbortSignal): Promise<VideoProbe> {
  const { streams, format } = await ask(path, [
    ..."-select_streams V:0 -show_entries".split(" "),
    "stream=width,height,nb_frames,start_time,duration,avg_frame_rate,sample_aspect_ratio,pix_fmt,field_order,color_range,color_space," +
    "color_primaries,color_transfer,chroma_location:stream_side_data=rotation:stream_tags=DURATION,language,title:format=duration,start_time,format_name",
  ], signal);
  const stream = streams?.[0];
  if (!stream?.width) throw new ModelFormatError(`read ${path}: no video stream was found in it`);
  const [n, d] = ratio(stream.avg_frame_rate, "/");
  const known = (text: unknown) =>
    typeof text === "string" && !/^(unknown|reserved|unspecified)$/.test(text) ? text : undefined;
  const own = Number(stream.duration ?? clock(stream.tags?.DURATION));
  // Matroska's tag counts from 0.
  const end = stream.duration === undefined ? own : own + (Number(stream.start_time) || 0);
  const seconds = Number.isFinite(own) ? own : Number(format?.duration);
  const turned = (stream.side_data_list ?? []).some((one) =>
    Math.abs(one.rotation ?? 0) % 180 === 90
  );
  const restarts = /(^|,)(mpegts|mpeg|hls)(,|$)/.test(format?.format_name ?? "");
  const upright = <T>(pair: readonly [T, T]): readonly [T, T] => turned ? [pair[1], pair[0]] : pair;
  const [width, height] = upright([stream.width, stream.height ?? 0]);
  return {
    width,
    height,
    frames: stream.nb_frames ? Number(stream.nb_frames) : undefined,
    duration: Number.isFinite(seconds) ? seconds : undefined,
    wholeFile: !Number.isFinite(own),
    end: restarts || !Number.isFinite(end) ? undefined : end,
    start: restarts ? 0 : Number(format?.start_time) || 0,
    restarts,
    rate: d > 0 ? n / d : 0,
    rateRatio: [n, d],
    interlaced: /^(tt|bb|tb|bt)$/.test(stream.field_order ?? ""),
    language: stream.tags?.language === "und" ? undefined : stream.tags?.language,
    title: stream.tags?.title,
    aspect: upright(ratio(stream.sample_aspect_ratio, ":")),
    pixels: stream.pix_fmt ?? "unknown",
    colour: {
      range: known(stream.color_range),
      space: known(stream.color_space),
      primaries: known(stream.color_primaries),
      transfer: known(stream.color_transfer),
      siting: known(stream.chroma_location),
    },
  };
}

/** A stream beside the pictures. */
export interface OtherStream {
  /** `video`: another one than the first. */
  kind: "audio" | "subtitle" | "attachment" | "cover" | "video";
  /** ffmpeg's name. */
  codec: string;
}

/** A file's streams but for its first video and those of data, in their order. */
export async function probeOthers(path: string): Promise<OtherStream[]> {
  const { streams } = await ask(path, [
    "-show_entries",
    "stream=codec_type,codec_name:stream_disposition=attached_pic",
  ]);
  let pictures = false;
  return (streams ?? []).flatMap(({ codec_type, codec_name: codec = "unknown", disposition }) => {
    const kind = codec_type === "video" && disposition?.attached_pic ? "cover" : codec_type;
    if (kind === "video" && !pictures) {
      pictures = true;
      return [];
    }
    return kind === undefined || kind === "data" ? [] : [{ kind, codec }];
  });
}

/** Seconds before the start that codecs need to settle in: any more of it was cut off. */
const settling = 0.1;

/** Whether a file hides sound that comes before its start, by an edit list. */
export async function hidesStart(path: string, index: number): Promise<boolean> {
  const { packets } = await ask(path, [
    ...`-select_streams a:${index} -read_intervals %+#1 -show_entries packet=pts_time`.split(" "),
  ]);
  return Number(packets?.[0]?.pts_time ?? 0) < -settling;
}

/** What is read of ffprobe's answer. */
interface Answer {
  packets?: { pts_time?: string }[];
  streams?: {
    codec_name?: string;
    codec_type?: "video" | "audio" | "subtitle" | "attachment" | "data";
    disposition?: { attached_pic?: number };
    field_order?: string;
    width?: number;
    height?: number;
    nb_frames?: string;
    start_time?: string;
    duration?: string;
    avg_frame_rate?: string;
    sample_aspect_ratio?: string;
    pix_fmt?: string;
    color_range?: string;
    color_space?: string;
    color_primaries?: string;
    color_transfer?: string;
    chroma_location?: string;
    tags?: { DURATION?: string; language?: string; title?: string };
    side_data_list?: { rotation?: number }[];
  }[];
  format?: { duration?: string; start_time?: string; format_name?: string };
}

async function ask(path: string, what: string[], signal?: AbortSignal): Promise<Answer> {
  const args = ["-v", "error", "-of", "json", ...what, ffmpegPath(path)];
  const child = startFfmpeg("ffprobe", args);
  const stop = () => killProcess(child);
  signal?.addEventListener("abort", stop);
  const { success, stdout, stderr } = await child.output();
  signal?.removeEventListener("abort", stop);
  signal?.throwIfAborted();
  if (!success) {
    throw new ModelFormatError(`read ${path}: ${firstComplaint(new TextDecoder().decode(stderr))}`);
  }
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Seconds of "00:01:02.5", as Matroska's tags have them. */
function clock(text: string | undefined): number | undefined {
  return text?.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

function ratio(text: string | undefined, mark: string): readonly [number, number] {
  const [n, d] = (text ?? "").split(mark).map(Number);
  return n > 0 && d > 0 ? [n, d] : [0, 0];
}
