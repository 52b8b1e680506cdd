import { sameFile } from "../common/same_file.ts";
import { upscaleFile } from "../lut/upscale_file.ts";
import { type LumaDevice, lumaDevices } from "../lut/luma_path.ts";
import { qualities, type Quality } from "../lut/quality_ladder.ts";
import { VideoUpscaler } from "../lut/video_upscaler.ts";
import type { Command, CommandContext } from "./command.ts";
import { type Flag, parseFlags } from "./flags.ts";
import { checkInput } from "./check_input.ts";
import { checkOutput } from "./check_output.ts";
import { readScale } from "./read_scale.ts";
import { UsageError } from "./usage_error.ts";
import { wholeNumber } from "./whole_number.ts";

const flags = [
  { name: "scale", kind: "number", value: "N", help: "2, 3 or 4 (default 4)" },
  { name: "quality", kind: "text", value: "NAME", help: `${qualities.join(", ")} (default full)` },
  {
    name: "budget",
    kind: "number",
    value: "MS",
    help: "Milliseconds a frame may take; quality steps down to keep it",
  },
  {
    name: "device",
    kind: "text",
    value: "NAME",
    help: "cpu, or gpu for shaders, which give the same bytes and pay on a real GPU (default cpu)",
  },
  { name: "threads", kind: "number", value: "N", help: "CPU threads (default: all)" },
  {
    name: "crf",
    kind: "number",
    value: "N",
    help: "Quality of the encoder, 0 to 51, lower is better (default 18)",
  },
] as const satisfies readonly Flag[];

/** `sparrow video`: enlarges a video file by look-up tables. */
export const videoCommand: Command = {
  usage: "INPUT OUTPUT [FLAGS]",
  about:
    "Enlarges a video. Files ending in .y4m need nothing else; other containers go through ffmpeg, with audio, subtitles and times kept; interlaced video comes out progressive. " +
    "A y4m without a frame rate counts as 25 frames a second. A cut or damaged input gives what there is of it, then an error: exit code 3.",
  flags,
  examples: [
    "sparrow video talk.mp4 big.mp4 --scale 4",
    "sparrow video clip.y4m big.y4m --quality gate",
  ],
  run,
};

async function run(args: string[], { report, signal }: CommandContext): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.rest.length !== 2) {
    throw new UsageError(`video takes an input and an output file, got ${given.rest.length}`);
  }
  const quality = given.quality ?? "full";
  if (!qualities.includes(quality as Quality)) {
    throw new UsageError(`--quality is ${quality}, expected ${qualities.join(", ")}`);
  }
  const device = given.device ?? "cpu";
  if (!lumaDevices.includes(device as LumaDevice)) {
    throw new UsageError(`--device is ${device}, expected ${lumaDevices.join(" or ")}`);
  }
  const [input, output] = given.rest;
  const scale = readScale(given.scale);
  // As many as the native library takes.
  const threads = wholeNumber("threads", given.threads, 1, 256);
  const crf = wholeNumber("crf", given.crf, 0, 51);
  if (given.budget !== undefined && !(given.budget > 0)) {
    throw new UsageError(`--budget: expected milliseconds above 0, got ${given.budget}`);
  }
  await checkInput(input);
  await checkOutput(output);
  if (await sameFile(input, output)) {
    throw new UsageError(`input ${input} and output ${output} are the same file`);
  }
  await using upscaler = await VideoUpscaler.open({
    scale,
    quality: quality as Quality,
    budgetMs: given.budget,
    device: device as LumaDevice,
    run: { threads },
  });
  const begin = performance.now();
  let frames = 0;
  try {
    await upscaleFile(upscaler, input, output, {
      signal,
      crf,
      onLeftOut: (stream) =>
        report.event("left_out", `${stream} is left out of ${output}`, { output, stream }),
      onFrame: (done, total) => {
        frames = done;
        if (total !== undefined) report.progress("upscale", done, total, "frames");
      },
    });
  } catch (error) {
    // Whatever was thrown, it is that we were told to stop.
    if (!signal.aborted) {
      throw error instanceof RangeError ? new UsageError(error.message) : error;
    }
    report.event("stopped", `stopped: ${output} has ${frames} frames`, { output, frames });
    return 130;
  }
  const seconds = (performance.now() - begin) / 1000;
  const { busyMs, byQuality, sceneCuts } = upscaler.stats;
  const fps = frames / seconds, computeFps = frames / (busyMs / 1000);
  report.event(
    "video",
    `${output}: ${frames} frames in ${seconds.toFixed(1)} s, ${fps.toFixed(1)} a second (${
      computeFps.toFixed(1)
    } without decoding and encoding), ${upscaler.description}`,
    { output, frames, seconds, fps, computeFps, byQuality, sceneCuts, path: upscaler.description },
  );
  return 0;
}
