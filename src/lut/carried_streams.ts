import { extname } from "@std/path";
import { ffmpegPath, startFfmpeg } from "./ffmpeg_process.ts";
import { probeOthers } from "./probe_video.ts";

/** How sound and subtitles get into a file. */
export interface CarriedStreams {
  /** ffmpeg's arguments that map the streams of its input 1 and say how each is coded. */
  args: string[];
  /** What the file has no room for, in words. */
  leftOut: string[];
}

/** How a stream may be coded, best first; ffmpeg takes its own choice for the container where nothing is said. */
const codings: Record<"audio" | "subtitle", string[][]> = {
  // Opus has no room for some layouts of six channels.
  audio: [["-c", "copy"], [], ["-ac", "2"]],
  subtitle: [["-c", "copy"], ["-c", "mov_text"], ["-c", "srt"], ["-c", "webvtt"]],
};
const letter = { audio: "a", subtitle: "s" } as const;

/**
 * How the sound and subtitles of `from` get into `to`: copied where its container takes them, else coded anew, else left out. Only ffmpeg
 * knows what a container takes, so that it is asked to begin such a file: 60 ms, and as much for each stream and coding where one cannot be
 * copied.
 */
export async function carriedStreams(from: string, to: string): Promise<CarriedStreams> {
  const streams = await probeOthers(from);
  if (streams.length === 0) return { args: ["-map", "0:v"], leftOut: [] };
  const folder = await Deno.makeTempDir({ prefix: "sparrow-" });
  const fits = (args: readonly string[]) => begins(from, args, `${folder}/file${extname(to)}`);
  try {
    const all = ["-map", "0:a?", "-map", "0:s?", "-c", "copy"];
    if (await fits(all)) {
      const copied = "-map 0:v -map 1:a? -map 1:s? -c:a copy -c:s copy".split(" ");
      return { args: copied, leftOut: [] };
    }
    const args = ["-map", "0:v"], leftOut: string[] = [];
    const found = { audio: 0, subtitle: 0 }, kept = { audio: 0, subtitle: 0 };
    for (const { kind, codec } of streams) {
      const place = `${letter[kind]}:${found[kind]++}`;
      const coding = await first(codings[kind], (one) => fits(["-map", `0:${place}`, ...one]));
      if (coding === undefined) {
        leftOut.push(`${kind} ${found[kind]} (${codec})`);
        continue;
      }
      const own = `:${letter[kind]}:${kept[kind]++}`;
      args.push("-map", `1:${place}`);
      if (coding.length > 0) args.push(`${coding[0]}${own}`, ...coding.slice(1));
    }
    return { args, leftOut };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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
