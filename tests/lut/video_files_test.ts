import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { ModelFormatError } from "../../src/common/errors.ts";
import { encodeY4mHeader, y4mFrameMark, Y4mReader } from "../../src/formats/y4m.ts";
import { decodeVideo } from "../../src/lut/ffmpeg_pipe.ts";
import { probeVideo } from "../../src/lut/probe_video.ts";
import { upscaleFile } from "../../src/lut/upscale_file.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { fileTest, times, tool } from "./video_files.ts";

nativeProblem();

async function y4m(path: string) {
  const reader = await Y4mReader.open((await Deno.open(path)).readable, path);
  return { header: reader.header, frames: await Array.fromAsync(reader) };
}

fileTest(
  "upscaleFile keeps full range, in samples and tag, of yuvj420p and of grey",
  async (upscale, make, folder) => {
    const white = "-f lavfi -i color=white:s=32x32:d=0.2:r=25 -vf scale=out_range=pc";
    await make(`${white},format=yuvj420p -color_range pc -crf 1 full.mp4`);
    await make(`${white},format=gray -c:v ffv1 grey.mkv`);
    for (const input of ["full.mp4", "grey.mkv"]) {
      await upscale(input, "big.mp4");
      assertEquals((await probeVideo(`${folder}/big.mp4`)).colour.range, "pc");
      const [frame] = await Array.fromAsync(decodeVideo(`${folder}/big.mp4`));
      assert(frame.y[2000] >= 253, `${input}: white is ${frame.y[2000]}`);
      await upscale(input, "big.y4m");
      const { header, frames } = await y4m(`${folder}/big.y4m`);
      assert(header.comments.includes("COLORRANGE=FULL"));
      assert(frames[0][2000] >= 253);
      await upscale("big.y4m", "again.mp4");
      assertEquals((await probeVideo(`${folder}/again.mp4`)).colour.range, "pc");
    }
  },
);

fileTest(
  "upscaleFile takes RGB and writes a matrix that 4:2:0 can have",
  async (upscale, make, folder) => {
    const red = "-f lavfi -i color=red:s=32x32:d=0.2:r=25";
    await make(`${red} -c:v libx264rgb -crf 1 rgb.mp4`);
    await make(`${red} -pix_fmt bgr0 -c:v ffv1 rgb.mkv`);
    for (const input of ["rgb.mp4", "rgb.mkv"]) {
      await upscale(input, "big.mp4");
      const { colour } = await probeVideo(`${folder}/big.mp4`);
      assertEquals([colour.range, colour.space], ["tv", "bt709"]);
      const [{ y }] = await Array.fromAsync(decodeVideo(`${folder}/big.mp4`));
      assert(Math.abs(y[2000] - 63) <= 2, `red of BT.709 has luma 63, got ${y[2000]}`);
    }
  },
);

fileTest(
  "upscaleFile keeps the transfers of analogue television, which ffmpeg's programs call by different names",
  async (upscale, make, folder) => {
    for (const transfer of ["gamma22", "gamma28"]) {
      await make(
        `-y -f lavfi -i testsrc2=s=32x32:r=10:d=0.2 -c:v mpeg2video -color_trc ${transfer} in.mkv`,
      );
      const { colour } = await probeVideo(`${folder}/in.mkv`);
      assertEquals(colour.transfer, transfer === "gamma22" ? "bt470m" : "bt470bg");
      for (const output of ["out.mp4", "out.webm"]) {
        await upscale("in.mkv", output);
        assertEquals((await probeVideo(`${folder}/${output}`)).colour.transfer, colour.transfer);
      }
    }
  },
);

fileTest(
  "upscaleFile refuses outputs whose names are no video's, before it writes anything",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=32x32:r=10:d=0.2 in.mkv");
    for (const output of ["out", "out.gif", "out.PNG", "out.jpeg"]) {
      await assertRejects(() => upscale("in.mkv", output), RangeError, `${output}: the ending`);
      await assertRejects(() => Deno.stat(`${folder}/${output}`), Deno.errors.NotFound);
    }
  },
);

fileTest(
  "upscaleFile keeps times that no frame rate has, and the start against the sound",
  async (upscale, make, folder) => {
    const stamped = (ms: number[]) =>
      `-f lavfi -i testsrc2=s=32x32:r=25:d=${ms.length * 0.04} -vf ` +
      "settb=1/1000,setpts=" +
      ms.reduceRight((rest, at, i) => `if(eq(N\\,${i})\\,${at}\\,${rest})`, "0") +
      " -fps_mode passthrough -enc_time_base 1:1000";
    const jitter = [0, 20, 41, 50, 69, 83, 104];
    for (const ms of [[0, 137, 274, 300], jitter]) {
      await make(`-y ${stamped(ms)} -c:v libx264 in.mp4`);
      for (const output of ["out.mkv", "out.mp4"]) {
        assertEquals(await upscale("in.mp4", output), ms.length);
        assertEquals(
          (await times(`${folder}/${output}`)).map((s) => Math.round(s * 1000)),
          ms,
          output,
        );
      }
    }
    await make("-y -f lavfi -i testsrc2=s=32x32:r=60000/1001:d=0.5 in.mp4");
    await upscale("in.mp4", "out.mp4");
    const [even, given] = [await times(`${folder}/out.mp4`), await times(`${folder}/in.mp4`)];
    even.forEach((at, i) => assert(Math.abs(at - given[i]) <= 2e-6, `${at}, was ${given[i]}`));
    await make("-f lavfi -i testsrc2=s=32x32:r=25:d=0.5 -bf 0 v.mkv");
    await make("-f lavfi -i sine=d=1 -c:a ac3 a.mkv");
    await make(
      "-itsoffset 2.5 -i a.mkv -itsoffset 2.523 -i v.mkv -map 0 -map 1 -c copy -copyts late.mkv",
    );
    const late = await times(`${folder}/late.mkv`);
    const [sound] = await times(`${folder}/late.mkv`, "a:0");
    assertEquals(late[0], 2.523);
    for (const output of ["out.mkv", "out.mp4"]) {
      await upscale("late.mkv", output);
      assertEquals(await times(`${folder}/${output}`), late);
      assertEquals((await times(`${folder}/${output}`, "a:0"))[0], sound);
    }
  },
);

fileTest(
  "upscaleFile writes rotated video upright, with its size in the header",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=64x32:r=25:d=0.2 -vf setsar=4/3 flat.mp4");
    await make("-i flat.mp4 -c copy -metadata:s:v:0 rotate=90 turned.mp4");
    await upscale("turned.mp4", "big.y4m");
    const { header, frames } = await y4m(`${folder}/big.y4m`);
    assertEquals([header.width, header.height], [64, 128]);
    assertEquals(header.aspect, [3, 4]);
    assertEquals(frames.length, 5);
  },
);

fileTest("upscaleFile keeps pixel aspect and title", async (upscale, make, folder) => {
  await make("-f lavfi -i testsrc2=s=64x32:r=25:d=0.2 -vf setsar=4/3 -metadata title=Heron in.mp4");
  await upscale("in.mp4", "big.mkv");
  assertEquals((await probeVideo(`${folder}/big.mkv`)).aspect, [4, 3]);
  const title = "-show_entries format_tags=title -of csv=p=0";
  assertEquals(await tool("ffprobe", `${title} ${folder}/big.mkv`, "."), "Heron");
  await upscale("in.mp4", "big.y4m");
  await upscale("big.y4m", "again.mp4");
  assertEquals((await probeVideo(`${folder}/again.mp4`)).aspect, [4, 3]);
});

fileTest(
  "upscaleFile ends a cut input with one error after a valid output of what there was",
  async (upscale, make, folder) => {
    const clip = "-f lavfi -i testsrc2=s=64x48:r=25:d=4 -g 10";
    await make(`${clip} -movflags +faststart in.mp4`);
    await make(`${clip} in.mkv`);
    for (const kind of ["mp4", "mkv"]) {
      const bytes = await Deno.readFile(`${folder}/in.${kind}`);
      await Deno.writeFile(`${folder}/cut.${kind}`, bytes.subarray(0, bytes.length >> 1));
      const { message } = await assertRejects(
        () => upscale(`cut.${kind}`, "big.mkv"),
        ModelFormatError,
      );
      const [, done] = /only (\d+) of (?:about )?100 frames could be read/.exec(message) ?? [];
      assert(Number(done) > 10 && Number(done) < 90, message);
      if (kind === "mkv") assertStringIncludes(message, "File ended prematurely");
      assertEquals((await times(`${folder}/big.mkv`)).length, Number(done));
    }
  },
);

fileTest(
  "upscaleFile tells of a hole in an input that declares no count",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=352x288:r=25:d=4 -g 25 in.mkv");
    const bytes = await Deno.readFile(`${folder}/in.mkv`);
    const middle = bytes.length >> 1;
    bytes.fill(0x5a, middle, middle + (bytes.length >> 2));
    await Deno.writeFile(`${folder}/hole.mkv`, bytes);
    const { message } = await assertRejects(() => upscale("hole.mkv", "big.mkv"), Error);
    assert(/only \d+ of about 100 frames could be read/.test(message), message);
  },
);

fileTest(
  "upscaleFile refuses to write its own input, by any path",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=32x32:r=25:d=0.2 -pix_fmt yuv420p c.y4m");
    await Deno.symlink("c.y4m", `${folder}/soft.y4m`);
    await Deno.link(`${folder}/c.y4m`, `${folder}/hard.y4m`);
    const before = await Deno.readFile(`${folder}/c.y4m`);
    for (const output of ["./c.y4m", "soft.y4m", "hard.y4m"]) {
      await assertRejects(() => upscale("c.y4m", output), RangeError, "is the input");
    }
    assertEquals(await Deno.readFile(`${folder}/c.y4m`), before);
  },
);

fileTest(
  "upscaleFile takes a y4m without a rate for 25 frames a second",
  async (upscale, _make, folder) => {
    const head = new TextDecoder().decode(
      encodeY4mHeader({
        width: 16,
        height: 16,
        layout: "420",
        rate: [0, 0],
        interlacing: "p",
        aspect: [0, 0],
        comments: [],
      }),
    ).replace(" F0:0", "");
    const frame = new Blob([y4mFrameMark, new Uint8Array(384).fill(90)]);
    const clip = new Blob([head, frame, frame, frame]);
    await Deno.writeFile(`${folder}/in.y4m`, new Uint8Array(await clip.arrayBuffer()));
    await upscale("in.y4m", "out.mp4");
    assertEquals(await times(`${folder}/out.mp4`), [0, 0.04, 0.08]);
    await upscale("in.y4m", "OUT.Y4M");
    assertEquals((await y4m(`${folder}/OUT.Y4M`)).frames.length, 3);
  },
);

fileTest(
  "upscaleFile writes odd sizes, WebM, and names that ffmpeg would misread",
  async (upscale, make, folder) => {
    const clip = "-f lavfi -i testsrc=s=33x31:r=25:d=0.2 -f lavfi -i sine=d=0.2";
    await make(`${clip} -pix_fmt yuv420p -c:v ffv1 -c:a aac in.mkv`);
    await upscale("in.mkv", "odd.mp4");
    const { width, height } = await probeVideo(`${folder}/odd.mp4`);
    assertEquals([width, height], [99, 93]);
    await upscale("in.mkv", "out.webm");
    const codecs = "-show_entries stream=codec_name -of csv=p=0";
    assertEquals(await tool("ffprobe", `${codecs} ${folder}/out.webm`, "."), "vp9\nopus");
    await Deno.rename(`${folder}/in.mkv`, `${folder}/12:30.mkv`);
    const here = Deno.cwd();
    try {
      Deno.chdir(folder);
      using upscaler = await VideoUpscaler.open({ scale: 2, quality: "bicubic" });
      assertEquals(await upscaleFile(upscaler, "12:30.mkv", "-out.mkv"), 5);
    } finally {
      Deno.chdir(here);
    }
  },
  3,
);

fileTest("upscaleFile takes no cover for a video", async (upscale, make, folder) => {
  await make("-f lavfi -i color=red:s=32x32 -frames:v 1 cover.png");
  await make("-f lavfi -i sine=d=0.5 -i cover.png -map 0 -map 1 -c:v copy song.mp3");
  await assertRejects(() => upscale("song.mp3", "out.mp4"), ModelFormatError, "no video stream");
  await assertRejects(() => Deno.stat(`${folder}/out.mp4`), Deno.errors.NotFound);
});

fileTest(
  "upscaleFile makes interlaced video progressive, frame for frame",
  async (upscale, make, folder) => {
    // A bar that moves between the fields: all rows of one time are alike.
    const bar =
      "nullsrc=s=64x48:r=50:d=0.4,geq=lum=if(between(X-mod(4*N\\,64)\\,0\\,9)\\,220\\,30)";
    await make(
      `-f lavfi -i ${bar}:cb=128:cr=128,tinterlace=interleave_top,fieldorder=tff ` +
        "-c:v mpeg2video -flags +ildct+ilme -top 1 -q:v 1 -pix_fmt yuv420p in.mkv",
    );
    assertEquals((await probeVideo(`${folder}/in.mkv`)).interlaced, true);
    assertEquals(await upscale("in.mkv", "out.y4m"), 10);
    const { header, frames } = await y4m(`${folder}/out.y4m`);
    for (const luma of frames) {
      for (let y = 8; y < 88; y++) {
        for (let x = 0; x < 128; x++) {
          const step = Math.abs(luma[y * 128 + x] - luma[(y + 1) * 128 + x]);
          assert(step < 60, `rows ${y} and ${y + 1} differ by ${step} at ${x}`);
        }
      }
    }
    assertEquals([header.interlacing, ...header.rate], ["p", 25, 1]);
  },
);

fileTest("upscaleFile gives a y4m the exact rate", async (upscale, make, folder) => {
  await make("-f lavfi -i testsrc2=s=32x32:r=30000/1001:d=0.3 in.mkv");
  await upscale("in.mkv", "out.y4m");
  assertEquals((await y4m(`${folder}/out.y4m`)).header.rate, [30000, 1001]);
});

fileTest(
  "upscaleFile says that an output cannot be written, a full disk at the last byte included",
  async (upscale, make, folder) => {
    await make("-f lavfi -i testsrc2=s=32x32:r=10:d=0.5 in.mkv");
    for (const kind of ["mkv", "y4m"]) {
      await Deno.symlink("/dev/full", `${folder}/full.${kind}`);
      for (const [name, words] of [["full", "No space left"], ["none/x", "No such file"]]) {
        const output = `${name}.${kind}`;
        const { message } = await assertRejects(() => upscale("in.mkv", output), Error, "", output);
        assertStringIncludes(message, output);
        assertStringIncludes(message, words);
      }
    }
  },
);

fileTest(
  "upscaleFile refuses a pipe that ffmpeg would read twice",
  async (upscale, _make, folder) => {
    await new Deno.Command("mkfifo", { args: [`${folder}/in.mkv`] }).output();
    await assertRejects(() => upscale("in.mkv", "out.mkv"), RangeError, "it is a pipe");
  },
);

fileTest(
  "upscaleFile leaves chroma where it lies, says where, and puts it left where it has to be halved",
  async (upscale, make, folder) => {
    const ramp = "nullsrc=s=48x16:r=5:d=0.2,format=yuv444p,geq=lum=128:cb=X*4+20:cr=128";
    await make(`-f lavfi -i ${ramp} -c:v ffv1 whole.mkv`);
    const halved = (across: number) =>
      `-i whole.mkv -vf scale=out_h_chr_pos=${across}:out_v_chr_pos=128,format=yuv420p`;
    await make(`${halved(0)} -c:v ffv1 left.mkv`);
    await make(`${halved(128)} -c:v mjpeg -q:v 1 -color_range tv -strict unofficial centre.avi`);
    for (
      const [input, colour, offset] of [
        ["whole.mkv", "420mpeg2", 0],
        ["left.mkv", "420mpeg2", 0],
        ["centre.avi", "420jpeg", 0.5],
      ] as const
    ) {
      await upscale(input, "big.y4m");
      const { header, frames } = await y4m(`${folder}/big.y4m`);
      assertEquals(header.colour, colour);
      const row = frames[0].subarray(96 * 32 + 48 * 8, 96 * 32 + 48 * 9);
      const errors = [...row].slice(6, -6).map((value, i) =>
        value - (20 + 4 * ((2 * (i + 6) + offset + 0.5) / 2 - 0.5))
      );
      const mean = errors.reduce((a, b) => a + b) / errors.length;
      assert(Math.abs(mean) <= 0.6, `${input}: ${mean} of 4 a column`);
      await upscale("big.y4m", "again.mp4");
      assertEquals(
        (await probeVideo(`${folder}/again.mp4`)).colour.siting,
        offset > 0 ? "center" : "left",
      );
    }
  },
);

fileTest(
  "upscaleFile counts a broadcast's times from its start, and joins them where its clock jumps",
  async (upscale, make, folder) => {
    await make(
      "-f lavfi -i testsrc2=s=32x32:r=10:d=1 -f lavfi -i sine=d=1 -bf 0 -output_ts_offset 34000 one.ts",
    );
    const one = await Deno.readFile(`${folder}/one.ts`);
    await Deno.writeFile(`${folder}/two.ts`, new Uint8Array([...one, ...one]));
    for (const [input, frames] of [["one.ts", 10], ["two.ts", 20]] as const) {
      assertEquals(await upscale(input, "out.mkv"), frames);
      await make(`-y -i ${input} -c copy copy.mkv`);
      for (const stream of ["v:0", "a:0"]) {
        const [given, expected] = [
          await times(`${folder}/out.mkv`, stream),
          await times(`${folder}/copy.mkv`, stream),
        ];
        assertEquals(given.length, expected.length);
        given.forEach((at, i) => assert(Math.abs(at - expected[i]) < 0.003, `${stream}: ${at}`));
      }
    }
  },
);

fileTest(
  "upscaleFile lets a last picture stay as long as it did, the only one included",
  async (upscale, make, folder) => {
    const duration = async (name: string) =>
      Number(await tool("ffprobe", `-show_entries format=duration -of csv=p=0 ${name}`, folder));
    await make("-f lavfi -i testsrc2=s=32x32:r=1/4:d=12 slides.mp4");
    await make("-f lavfi -i testsrc2=s=32x32:r=1/4:d=4 one.mp4");
    for (const [input, frames, seconds] of [["slides.mp4", 3, 12], ["one.mp4", 1, 4]] as const) {
      for (const output of ["out.mp4", "out.mkv"]) {
        assertEquals(await upscale(input, output), frames);
        const stays = await duration(output);
        assert(Math.abs(stays - seconds) < 0.05, `${input}: ${stays} s, expected ${seconds}`);
        const at = await times(`${folder}/${output}`);
        assertEquals(at.slice(0, frames), [0, 4, 8].slice(0, frames));
      }
    }
  },
);
