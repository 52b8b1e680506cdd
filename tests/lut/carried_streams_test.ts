import { assert, assertEquals } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { upscaleFile } from "../../src/lut/upscale_file.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { fileTest, streams, times } from "./video_files.ts";

nativeProblem();

/** Enlarges a file by 2; resolves to the streams that were left out. */
async function leftOutOf(input: string, output: string): Promise<string[]> {
  using upscaler = await VideoUpscaler.open({ scale: 2, quality: "bicubic" });
  const leftOut: string[] = [];
  await upscaleFile(upscaler, input, output, { onLeftOut: (stream) => leftOut.push(stream) });
  return leftOut;
}

fileTest(
  "upscaleFile brings sound and subtitles into containers that do not take their codecs, and says what it leaves out",
  async (upscale, make, folder) => {
    await Deno.writeTextFile(`${folder}/s.srt`, "1\n00:00:00,000 --> 00:00:00,500\nHello\n");
    const clip = "-f lavfi -i testsrc2=s=32x32:r=10:d=0.5 -f lavfi -i sine=d=0.5 -i s.srt";
    const maps = "-map 0 -map 1 -map 1 -map 2";
    await make(`${clip} ${maps} -c:a:0 pcm_s16le -c:a:1 aac -metadata:s:a:1 language=deu in.mkv`);
    await make(`${clip} ${maps} -c:s mov_text in.mp4`);
    const codecs = (output: string) => streams(`${folder}/${output}`, "stream=codec_name");
    await upscale("in.mkv", "out.mp4");
    assertEquals(await codecs("out.mp4"), ["h264", "aac", "aac", "mov_text"]);
    const languages = await streams(`${folder}/out.mp4`, "stream_tags=language");
    assertEquals(languages.slice(0, 3), ["und", "und", "deu"]);
    await upscale("in.mp4", "out.mkv");
    assertEquals(await codecs("out.mkv"), ["h264", "aac", "aac", "subrip"]);
    await upscale("in.mp4", "out.webm");
    assertEquals(await codecs("out.webm"), ["vp9", "opus", "opus", "webvtt"]);
    const leftOut = await leftOutOf(`${folder}/in.mkv`, `${folder}/out.avi`);
    assertEquals(leftOut, ["subtitle 1 (ass)"]);
    assertEquals(await codecs("out.avi"), ["h264", "pcm_s16le", "aac"]);
  },
);

fileTest(
  "upscaleFile keeps the language of the pictures, and gives none of its own",
  async (upscale, make, folder) => {
    const clip = "-y -f lavfi -i testsrc2=s=32x32:r=10:d=0.2";
    const language = () => streams(`${folder}/out.mp4`, "stream_tags=language");
    await make(`${clip} in.mp4`);
    await upscale("in.mp4", "out.mp4");
    assertEquals(await language(), ["und"]);
    await make(`${clip} -metadata:s:v language=fra in.mp4`);
    await upscale("in.mp4", "out.mp4");
    assertEquals(await language(), ["fra"]);
  },
);

fileTest(
  "upscaleFile keeps the fonts of subtitles where there is room, and names covers and other videos that it leaves out",
  async (upscale, make, folder) => {
    await Deno.writeTextFile(`${folder}/s.srt`, "1\n00:00:00,000 --> 00:00:00,500\nHello\n");
    await Deno.writeTextFile(`${folder}/font.ttf`, "a font");
    const clip = "-f lavfi -i testsrc2=s=32x32:r=10:d=0.5";
    await make(
      `${clip} -i s.srt -attach font.ttf -metadata:s:t mimetype=application/x-truetype-font -metadata:s:v title=Wide in.mkv`,
    );
    await upscale("in.mkv", "out.mkv");
    const codecs = (output: string) => streams(`${folder}/${output}`, "stream=codec_name");
    assertEquals(await codecs("out.mkv"), ["h264", "ass", "ttf"]);
    const tags = await streams(`${folder}/out.mkv`, "stream_tags=title,filename");
    assertEquals(tags, ["Wide", "font.ttf"]);
    const fontOf = async (output: string) =>
      await leftOutOf(`${folder}/in.mkv`, `${folder}/${output}`);
    assertEquals(await fontOf("out.mp4"), ["attachment 1 (ttf)"]);
    assertEquals(await fontOf("out.webm"), ["attachment 1 (ttf)"]);
    await make("-f lavfi -i color=red:s=32x32 -frames:v 1 cover.png");
    await make(
      `${clip} ${clip} -i cover.png -map 0 -map 1 -map 2 -c:v libx264 -c:v:2 copy -disposition:v:2 attached_pic in.mp4`,
    );
    assertEquals(await leftOutOf(`${folder}/in.mp4`, `${folder}/out.mp4`), [
      "video 2 (h264)",
      "cover 1 (png)",
    ]);
  },
);

fileTest(
  "upscaleFile writes nothing into MPEG-TS that nobody could read there",
  async (_upscale, make, folder) => {
    await Deno.writeTextFile(`${folder}/s.srt`, "1\n00:00:00,000 --> 00:00:00,500\nHello\n");
    await make(
      "-f lavfi -i testsrc2=s=32x32:r=10:d=0.5 -f lavfi -i sine=d=0.5 -i s.srt " +
        "-map 0 -map 1 -map 1 -map 2 -c:a:0 pcm_s16le -c:a:1 ac3 in.mkv",
    );
    const leftOut = await leftOutOf(`${folder}/in.mkv`, `${folder}/out.ts`);
    assertEquals(leftOut, ["subtitle 1 (ass)"]);
    const codecs = await streams(`${folder}/out.ts`, "program_stream=codec_name");
    assertEquals(codecs, ["h264", "mp2", "ac3"]);
  },
);

fileTest(
  "upscaleFile brings back no sound that a trimmed recording hides, into containers that cannot hide it",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=32x32:r=25:d=2 -f lavfi -i sine=d=2 -g 50 whole.mp4");
    await make("-ss 0.6 -i whole.mp4 -c copy cut.mp4");
    for (const output of ["out.mkv", "out.ts", "out.mp4"]) {
      await upscale("cut.mp4", output);
      const [[picture], [sound]] = [
        await times(`${folder}/${output}`),
        await times(`${folder}/${output}`, "a:0"),
      ];
      const hidden = output === "out.mp4" ? 0.6 : 0;
      assert(Math.abs(picture - sound - hidden) < 0.1, `${output}: ${sound} before ${picture}`);
    }
  },
);
