import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { encodeImage } from "../../src/formats/image.ts";
import { encodeY4mHeader, y4mFrameMark, Y4mReader } from "../../src/formats/y4m.ts";
import { hasFfmpeg } from "../support/has_ffmpeg.ts";
import { inFolder } from "../support/in_folder.ts";
import { needsNative } from "../support/needs_native.ts";
import { until } from "../support/until.ts";
import { cli } from "./support.ts";

nativeProblem();
const header = encodeY4mHeader({
  width: 160,
  height: 120,
  layout: "420",
  rate: [25, 1],
  interlacing: "p",
  aspect: [1, 1],
  comments: [],
});

Deno.test("sparrow video and upscale exit with 2 and one line that names the flag and its value", async () => {
  for (
    const [line, words] of [
      ["video in.y4m out.y4m --threads=-1", "--threads: expected a whole number from 1"],
      ["video in.y4m out.y4m --threads 0", "got 0"],
      ["video in.y4m out.y4m --budget 0", "--budget: expected milliseconds above 0, got 0"],
      ["video in.y4m out.y4m --device tpu", "--device is tpu, expected cpu or gpu"],
      ["video in.y4m out.y4m --crf=-3", "--crf: expected a whole number from 0 to 51, got -3"],
      [
        "upscale in.png out.png --two-stage --scale 2",
        "--two-stage enlarges by 4 only, got --scale 2",
      ],
    ]
  ) {
    const { code, err } = await cli(line.split(" "));
    assertEquals(code, 2, line);
    assertStringIncludes(JSON.parse(err).message, words);
  }
});

Deno.test("an input that is no file is wrong usage, one that is no video or picture a bad file", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/text.mp4`, "not a video");
    const output = `${folder}/out.png`;
    const lost = `${folder}/none/out.png`;
    const taken = `${folder}/taken.png`;
    await Deno.mkdir(taken);
    await new Deno.Command("mkfifo", { args: [`${folder}/pipe.mkv`] }).output();
    for (
      const [line, exit, words] of [
        [["upscale", `${folder}/none.png`, output], 2, "none.png: no such file"],
        [["video", `${folder}/none.mp4`, `${folder}/out.mp4`], 2, "none.mp4: no such file"],
        [["inspect", `${folder}/none.gguf`], 2, "none.gguf: no such file"],
        [["upscale", folder, output], 2, "is a folder, expected a file"],
        [["upscale", `${folder}/text.mp4`, lost], 2, "none/out.png: there is no such folder"],
        [["upscale", `${folder}/text.mp4`, taken], 2, "taken.png is a folder, expected a file"],
        [["video", `${folder}/text.mp4`, taken], 2, "taken.png is a folder, expected a file"],
        [["video", `${folder}/text.mp4`, lost], 2, "none/out.png: there is no such folder"],
        [["video", `${folder}/pipe.mkv`, `${folder}/out.mp4`], 2, "it is a pipe"],
        [["upscale", `${folder}/text.mp4`, output], 3, "text.mp4"],
        [["inspect", `${folder}/text.mp4`], 3, "text.mp4"],
        ...(await hasFfmpeg()
          ? [[["video", `${folder}/text.mp4`, `${folder}/out.mp4`], 3, "text.mp4"] as const]
          : []),
      ] as const
    ) {
      const { code, err } = await cli([...line]);
      assertEquals(code, exit, line.join(" "));
      assertStringIncludes(JSON.parse(err).message, words);
    }
  }));

Deno.test("sparrow video and upscale refuse to write their input, by any path", () =>
  inFolder(async (folder) => {
    const data = new Uint8Array(64).fill(200);
    const png = encodeImage({ width: 4, height: 4, channels: 4, data }, "png");
    await Deno.writeFile(`${folder}/p.png`, png);
    await Deno.writeFile(`${folder}/c.y4m`, header);
    for (const [command, name] of [["video", "c.y4m"], ["upscale", "p.png"]]) {
      await Deno.symlink(name, `${folder}/link-${name}`);
      const before = await Deno.readFile(`${folder}/${name}`);
      for (const output of [`./${name}`, `link-${name}`]) {
        const { code, err } = await cli([command, `${folder}/${name}`, `${folder}/${output}`]);
        assertEquals(code, 2);
        assertStringIncludes(JSON.parse(err).message, "are the same file");
      }
      assertEquals(await Deno.readFile(`${folder}/${name}`), before);
    }
  }));

Deno.test("sparrow video says that ffmpeg is not installed", (t) =>
  inFolder(async (folder) => {
    if (!needsNative(t)) return;
    await Deno.writeTextFile(`${folder}/in.mp4`, "a file");
    const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", main, "video", `${folder}/in.mp4`, `${folder}/out.mp4`],
      env: { PATH: folder },
    }).output();
    assertEquals(code, 1);
    assertStringIncludes(new TextDecoder().decode(stderr), "ffprobe is not installed");
  }));

/** Starts the program itself: signals go to processes. */
function start(args: string[]): Deno.ChildProcess {
  const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", main, ...args],
    stdout: "null",
    stderr: "null",
  }).spawn();
}

Deno.test({
  name: "sparrow video exits with 130 on SIGINT and leaves a valid shorter file",
  ignore: Deno.build.os === "windows",
  fn: (t) =>
    inFolder(async (folder) => {
      if (!needsNative(t)) return;
      const frame = new Blob([y4mFrameMark, new Uint8Array(160 * 120 * 1.5).fill(90)]);
      const clip = new Blob([header, ...Array.from({ length: 3000 }, () => frame)]);
      await Deno.writeFile(`${folder}/in.y4m`, clip.stream());
      const child = start(["video", `${folder}/in.y4m`, `${folder}/out.y4m`, "--threads", "1"]);
      await until(() => sizeOf(`${folder}/out.y4m`) > 1e6, "a part of the output");
      child.kill("SIGINT");
      assertEquals((await child.status).code, 130);
      const reader = await Y4mReader.open((await Deno.open(`${folder}/out.y4m`)).readable);
      let frames = 0;
      for await (const _ of reader) frames++;
      assert(frames > 0 && frames < 3000, `${frames} frames`);
    }),
});

Deno.test({
  name: "sparrow upscale ends at once on SIGINT",
  ignore: Deno.build.os === "windows",
  fn: (t) =>
    inFolder(async (folder) => {
      if (!needsNative(t)) return;
      const [width, height] = [3000, 3000];
      const data = new Uint8Array(width * height * 3).fill(90);
      await Deno.writeFile(
        `${folder}/in.png`,
        encodeImage({ width, height, channels: 3, data }, "png"),
      );
      const child = start(["upscale", `${folder}/in.png`, `${folder}/out.png`]);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const begin = performance.now();
      child.kill("SIGINT");
      const { success } = await child.status;
      assert(!success);
      assert(performance.now() - begin < 500, `it took ${performance.now() - begin} ms`);
    }),
});

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
