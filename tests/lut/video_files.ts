import { assert } from "@std/assert";
import { upscaleFile } from "../../src/lut/upscale_file.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { hasFfmpeg } from "../support/has_ffmpeg.ts";
import { inFolder } from "../support/in_folder.ts";
import { needsNative } from "../support/needs_native.ts";

const ffmpeg = await hasFfmpeg();

/** Runs ffmpeg or ffprobe on a line of words; resolves to what it printed. */
export async function tool(name: string, line: string, cwd: string): Promise<string> {
  const args = ["-v", "error", ...line.split(" ")];
  const { success, stdout, stderr } = await new Deno.Command(name, { args, cwd }).output();
  assert(success, `${name} ${line}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim();
}

/** What ffprobe says of `entries`, a line for each stream, their kinds left out. */
export async function streams(path: string, entries: string): Promise<string[]> {
  const out = await tool("ffprobe", `-show_entries ${entries} -of csv=p=0 ${path}`, ".");
  return out.split("\n").filter((line) => line !== "");
}

/** Tests `body` in a folder of its own with an upscaler by 2 (or `scale`) in the quickest quality. */
export function fileTest(
  name: string,
  body: (
    upscale: (input: string, output: string) => Promise<number>,
    make: (line: string) => Promise<string>,
    folder: string,
  ) => Promise<void>,
  scale: 2 | 3 = 2,
): void {
  Deno.test({
    name,
    ignore: !ffmpeg,
    fn: async (t) => {
      if (!needsNative(t)) return;
      using upscaler = await VideoUpscaler.open({ scale, quality: "bicubic" });
      await inFolder((folder) =>
        body(
          (input, output) => upscaleFile(upscaler, `${folder}/${input}`, `${folder}/${output}`),
          (line) => tool("ffmpeg", line, folder),
          folder,
        )
      );
    },
  });
}

/** Seconds at which a stream's packets go, sorted. */
export async function times(path: string, stream = "v:0"): Promise<number[]> {
  const out = await tool(
    "ffprobe",
    `-select_streams ${stream} -show_entries packet=pts_time -of csv=p=0 ${path}`,
    ".",
  );
  return out.split("\n").map((line) => parseFloat(line)).sort((a, b) => a - b);
}
