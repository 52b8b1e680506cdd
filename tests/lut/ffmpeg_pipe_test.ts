import { assert, assertEquals, assertRejects } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { decodeVideo, VideoEncoder } from "../../src/lut/ffmpeg_pipe.ts";
import { probeVideo } from "../../src/lut/probe_video.ts";
import { upscaleFile } from "../../src/lut/upscale_file.ts";
import { frameBytes, frameOf } from "../../src/lut/video_frame.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { hasFfmpeg } from "../support/has_ffmpeg.ts";
import { inFolder } from "../support/in_folder.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();
const ffmpeg = await hasFfmpeg();

/** Times that no frame rate has, none of them shared. */
const times = Array.from({ length: 30 }, (_, i) => i * 0.04 + (i % 7) * 0.003);

async function writeClip(path: string): Promise<void> {
  await using encoder = new VideoEncoder(path);
  for (const [i, timestamp] of times.entries()) {
    await encoder.write(
      frameOf(new Uint8Array(frameBytes("420", 32, 24)).fill(60 + 3 * i), "420", 32, 24, timestamp),
    );
  }
  await encoder.finish();
}

Deno.test({
  name:
    "VideoEncoder and decodeVideo keep every frame and its time, to the millisecond, at a variable rate",
  ignore: !ffmpeg,
  fn: () =>
    inFolder(async (folder) => {
      const path = `${folder}/clip.mkv`;
      await writeClip(path);
      const frames = await Array.fromAsync(decodeVideo(path));
      assertEquals(frames.length, times.length);
      frames.forEach(({ timestamp, y }, i) => {
        assert(
          Math.abs(timestamp! - times[i]) <= 0.0011,
          `frame ${i} at ${timestamp}, was ${times[i]}`,
        );
        assert(Math.abs(y[100] - (60 + 3 * i)) <= 3);
      });
    }),
});

Deno.test({
  name: "upscaleFile enlarges a video through ffmpeg, times kept, and y4m to y4m",
  ignore: !ffmpeg,
  fn: (t) =>
    inFolder(async (folder) => {
      if (!needsNative(t)) return;
      await writeClip(`${folder}/clip.mkv`);
      using upscaler = await VideoUpscaler.open({ scale: 2 });
      assertEquals(await upscaleFile(upscaler, `${folder}/clip.mkv`, `${folder}/big.mkv`), 30);
      const { width, height } = await probeVideo(`${folder}/big.mkv`);
      assertEquals([width, height], [64, 48]);
      const stamps = (await Array.fromAsync(decodeVideo(`${folder}/big.mkv`))).map((f) =>
        f.timestamp!
      );
      stamps.forEach((stamp, i) => assert(Math.abs(stamp - times[i]) <= 0.0021, `frame ${i}`));
      assertEquals(await upscaleFile(upscaler, `${folder}/clip.mkv`, `${folder}/big.y4m`), 30);
      assertEquals(await upscaleFile(upscaler, `${folder}/big.y4m`, `${folder}/huge.y4m`), 30);
    }),
});

Deno.test({
  name: "upscaleFile stopped midway leaves a valid shorter file and no process",
  ignore: !ffmpeg,
  fn: (t) =>
    inFolder(async (folder) => {
      if (!needsNative(t)) return;
      await writeClip(`${folder}/clip.mkv`);
      using upscaler = await VideoUpscaler.open({ scale: 2, quality: "bicubic" });
      const controller = new AbortController();
      await assertRejects(
        () =>
          upscaleFile(upscaler, `${folder}/clip.mkv`, `${folder}/part.mkv`, {
            signal: controller.signal,
            onFrame: (done) => done === 10 && controller.abort(new Error("stop")),
          }),
        Error,
        "stop",
      );
      assertEquals((await Array.fromAsync(decodeVideo(`${folder}/part.mkv`))).length, 10);
    }),
});

Deno.test({
  name: "decodeVideo and probeVideo say what ffmpeg says of a file that is no video",
  ignore: !ffmpeg,
  fn: () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/no.mp4`, "this is no video");
      await assertRejects(() => probeVideo(`${folder}/no.mp4`), Error, "moov atom not found");
      await assertRejects(
        () => Array.fromAsync(decodeVideo(`${folder}/no.mp4`)),
        Error,
        "moov atom not found",
      );
    }),
});

Deno.test({
  name:
    "decodeVideo and probeVideo end with their process on an abort, even while it waits for its input",
  ignore: !ffmpeg || Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      await writeClip(`${folder}/clip.mkv`);
      const probe = await probeVideo(`${folder}/clip.mkv`);
      const pipe = `${folder}/pipe.mkv`;
      await new Deno.Command("mkfifo", { args: [pipe] }).output();
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error("stop")), 200);
      await Promise.all([
        assertRejects(() => probeVideo(pipe, controller.signal), Error, "stop"),
        assertRejects(
          () => decodeVideo(pipe, probe, controller.signal).next(),
          Error,
          "pipe.mkv",
        ),
      ]);
    }),
});
