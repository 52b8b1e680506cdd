import { extname } from "@std/path";
import { ffmpegPath, startFfmpeg } from "./ffmpeg_process.ts";
import { hidesStart, type OtherStream, probeOthers } from "./probe_video.ts";

/** How sound, subtitles and attachments get into a file. */
export interface CarriedStreams {
  /** ffmpeg's arguments that map the streams of its input 1 and say how each is coded. */
  args: string[];
  /** What the file does not get, in words. */
  leftOut: string[];
}

const copied = ["-c", "copy"];
/** How a stream may be coded, best first; ffmpeg takes its own choice for the container where nothing is said. */
const codings: Record<"audio" | "subtitle", string[][]> = {
  // Opus has no room for some layouts of six channels.
  audio: [copied, [], ["-ac", "2"]],
  subtitle: [copied, ["-c", "mov_text"], ["-c", "srt"], ["-c", "webvtt"]],
};
const letter = { audio: "a", subtitle: "s", attachment: "t" } as const;
/** What MPEG-TS has a number for: ffmpeg writes all else as private data, which nothing reads. */
const transported = {
  audio: /^(mp[23]|aac|aac_latm|ac3|eac3|dts|truehd|opus|s302m)$/,
  subtitle: /^(dvb_subtitle|dvb_teletext|arib_caption)$/,
};

/** Containers that can hide the start of a stream, as telephones do when they trim a recording. */
const editLists = /\.(mp4|m4v|m4a|mov|3gp|3g2)$/i;

/** How `to` may hold a stream, best first; empty where it cannot. */
function codingsFor({ kind, codec }: OtherStream, to: string): string[][] {
  if (kind === "video" || kind === "cover") return [];
  // The others have none, which ffmpeg says of some of them alone.
  if (kind === "attachment") return /\.mk[av]$/i.test(to) ? [copied] : [];
  const transport = /\.(ts|mts|m2ts?)$/i.test(to);
  if (!transport || transported[kind].test(codec)) return codings[kind];
  return kind === "audio" ? codings.audio.slice(1) : [];
}

/**
 * How the sound, subtitles and attachments (fonts of subtitles) of `from` get into `to`: copied where its container takes them, else coded
 * anew, else left out, as are covers and videos after the first. Only ffmpeg knows what a container takes, so that it is asked to begin such
 * a file: 60 ms, and as much for each stream and coding where one cannot be copied.
 */
export async function carriedStreams(from: string, to: string): Promise<CarriedStreams> {
  const found = { audio: 0, subtitle: 0, attachment: 0, cover: 0, video: 1 };
  const streams = [];
  for (const stream of await probeOthers(from)) {
    const index = found[stream.kind]++;
    const ways = codingsFor(stream, to);
    // Decoding leaves out what is hidden, a copy does not.
    const anew = stream.kind === "audio" && ways[0] === copied && !editLists.test(to) &&
      await hidesStart(from, index);
    streams.push({ ...stream, index, ways: anew ? ways.slice(1) : ways });
  }
  const leftOut: string[] = [];
  const kept = streams.flatMap(({ kind, codec, index, ways }) => {
    if (kind !== "video" && kind !== "cover" && ways.length > 0) {
      return [{ kind, codec, index, ways, place: `${letter[kind]}:${index}` }];
    }
    leftOut.push(inWords({ kind, codec, index }));
    return [];
  });
  if (kept.length === 0) return { args: ["-map", "0:v"], leftOut };
  const folder = await Deno.makeTempDir({ prefix: "sparrow-" });
  const fits = (args: readonly string[]) => begins(from, args, `${folder}/file${extname(to)}`);
  const mapped = (input: number) => kept.flatMap(({ place }) => ["-map", `${input}:${place}`]);
  try {
    if (kept.every(({ ways }) => ways[0] === copied) && await fits([...mapped(0), ...copied])) {
      const copies = "-c:a copy -c:s copy -c:t copy".split(" ");
      return { args: ["-map", "0:v", ...mapped(1), ...copies], leftOut };
    }
    const args = ["-map", "0:v"];
    const written = { audio: 0, subtitle: 0, attachment: 0 };
    for (const { kind, codec, index, ways, place } of kept) {
      const coding = await first(ways, (one) => fits(["-map", `0:${place}`, ...one]));
      if (coding === undefined) {
        leftOut.push(inWords({ kind, codec, index }));
        continue;
      }
      const own = `:${letter[kind]}:${written[kind]++}`;
      args.push("-map", `1:${place}`);
      if (coding.length > 0) args.push(`${coding[0]}${own}`, ...coding.slice(1));
    }
    return { args, leftOut };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function inWords({ kind, codec, index }: OtherStream & { index: number }): string {
  return `${kind} ${index + 1} (${codec})`;
}

/** Whether ffmpeg begins a file `to` that holds what `args` say of `from`. */
async function begins(from: string, args: readonly string[], to: string): Promise<boolean> {
  const line = ["-v", "error", "-nostdin", "-y", "-i", ffmpegPath(from), ...args, "-t", "0", to];
  return (await startFfmpeg("ffmpeg", line).output()).success;
}

async function first<T>(
  items: readonly T[],
  test: (item: T) => Promise<boolean>,
): Promise<T | undefined> {
  for (const item of items) if (await test(item)) return item;
  return undefined;
}
