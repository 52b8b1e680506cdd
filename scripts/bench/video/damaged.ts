/** Clips that no training saw, encoded at a ladder of bitrates and with one that changes within. @module */

import { join } from "@std/path";
import { enlargePlane } from "../../../ffi/lut_enlarge.ts";
import { LutCascade } from "../../../ffi/lut_cascade.ts";
import { BankChooser } from "../../../src/lut/bank_chooser.ts";
import { blendExperts } from "../../../src/lut/blend_experts.ts";
import { LutModelFile, type LutScale } from "../../../src/lut/model_file.ts";
import { NativePath } from "../../../src/lut/native_path.ts";
import { isSceneCut } from "../../../src/lut/scene_cut.ts";
import type { BenchContext } from "../harness.ts";
import { blendBound } from "./blend_bound.ts";
import { decibels, type Luma, meanSquare } from "./luma.ts";

/** Held-out clips with the size that they are enlarged to, and the seconds taken from the start on. */
const clips = [
  { name: "bigbuckbunny", file: "bigbuckbunny.mp4", width: 1280, height: 720 },
  { name: "bikes", file: "bikes.mp4", width: 640, height: 272 },
] as const;
const bitrates = [100, 250, 500, 1000] as const;
/** Clips are made for this one: a quarter of their size is sent. */
const scale = 4;
/** Gain and flicker are measured at these too, against the source reduced to as many times what is sent. */
const otherScales = [3, 2] as const;
const frames = 40;
/** Every fourth frame is measured: neighbours tell little more. */
const measured = 4;
/** Pixels a side of the tiles that the bound on blending fits its weights to: 16 of the input's, more than what the gates see. */
const boundTile = 64;

type Bytes = Uint8Array<ArrayBuffer>;

/** Reports gains and flicker for each clip and bitrate. */
export async function damagedRows(context: BenchContext, data: string): Promise<void> {
  using model = LutModelFile.open();
  using path = new NativePath(model.fusion(scale));
  const singles = model.single(scale);
  const levels = singles.tables[0].length;
  const experts = Array.from({ length: levels }, (_, level) =>
    LutCascade.open([
      blendExperts(singles, Array.from({ length: levels }, (_, i) => Number(i === level))),
    ]));
  try {
    for (const { name, file, width, height } of clips) {
      const source = join(data, "video", file);
      const high = await planes(["-i", source], width, height, `scale=${width}:${height}`);
      const small = { width: width / scale, height: height / scale };
      const clean = await planes(
        ["-i", source],
        small.width,
        small.height,
        `scale=${small.width}:${small.height}:flags=bicubic`,
      );
      const sources = await Promise.all(otherScales.map(async (times) => {
        const w = small.width * times, h = small.height * times;
        return { times, high: await planes(["-i", source], w, h, `scale=${w}:${h}:flags=bicubic`) };
      }));
      for (const rate of [...bitrates, "switch", "clean"] as const) {
        const low = rate === "clean" ? clean : await encoded(clean, small, rate);
        const report = (metric: string, value: number, unit: string, suffix = "") =>
          context.report({ case: `${name}_${rate}${suffix}`, metric, value, unit });
        for (const { times, high } of sources) {
          using path = new NativePath(model.fusion(times));
          const score = await measure(
            low,
            high,
            small,
            times,
            path,
            new BankChooser(model.bank()),
            [],
          );
          report("gain_over_bicubic_db", score.fusion - score.bicubic, "dB", `_x${times}`);
          report(
            "flicker_over_bicubic",
            score.flicker / score.bicubicFlicker,
            "ratio",
            `_x${times}`,
          );
        }
        const chooser = new BankChooser(model.bank());
        const score = await measure(low, high, small, scale, path, chooser, experts);
        report("gain_over_bicubic_db", score.fusion - score.bicubic, "dB");
        report("gain_over_best_lut_db", score.fusion - Math.max(...score.experts), "dB");
        report("blend_bound_over_bicubic_db", score.blendBound - score.bicubic, "dB");
        report("flicker_over_bicubic", score.flicker / score.bicubicFlicker, "ratio");
      }
    }
  } finally {
    for (const expert of experts) expert[Symbol.dispose]();
  }
}

interface Score {
  bicubic: number;
  fusion: number;
  experts: number[];
  /** The most that blending bicubic and the tables could reach, its weights fitted to the original tile by tile. */
  blendBound: number;
  /** Root mean square of what changes between frames and does not in the original. */
  flicker: number;
  bicubicFlicker: number;
}

async function measure(
  low: Bytes[],
  high: Bytes[],
  { width, height }: { width: number; height: number },
  scale: LutScale,
  path: NativePath,
  chooser: BankChooser,
  experts: LutCascade[],
): Promise<Score> {
  const picture = (bytes: Bytes): Luma => ({
    width: width * scale,
    height: height * scale,
    data: bytes,
  });
  const sums = {
    bicubic: 0,
    fusion: 0,
    experts: experts.map(() => 0),
    blendBound: 0,
    flicker: 0,
    bicubicFlicker: 0,
    count: 0,
  };
  // As a stream goes: the bank is followed over every frame.
  const banks = low.map((frame, i) => {
    if (i > 0 && isSceneCut(frame, low[i - 1], width, height)) chooser.reset();
    return chooser.choose(frame, width, height);
  });
  const fuse = (i: number) => {
    const cut = i === 0 || isSceneCut(low[i], low[i - 1], width, height);
    return path.fuse(low[i], low[cut ? i : i - 1], width, height, banks[i]);
  };
  for (let i = 1; i < low.length; i += measured) {
    const fused = await fuse(i), fusedBefore = await fuse(i - 1);
    const bicubic = enlargePlane(low[i], width, height, scale);
    const bicubicBefore = enlargePlane(low[i - 1], width, height, scale);
    sums.bicubic += meanSquare(picture(bicubic), picture(high[i]), scale);
    sums.fusion += meanSquare(picture(fused), picture(high[i]), scale);
    const enlarged = experts.map((expert) => expert.run(low[i], width, height));
    enlarged.forEach((bytes, k) =>
      sums.experts[k] += meanSquare(picture(bytes), picture(high[i]), scale)
    );
    if (experts.length > 0) {
      sums.blendBound += blendBound(
        [bicubic, ...enlarged],
        high[i],
        width * scale,
        height * scale,
        boundTile,
      );
    }
    sums.flicker += flicker(fused, fusedBefore, high[i], high[i - 1]);
    sums.bicubicFlicker += flicker(bicubic, bicubicBefore, high[i], high[i - 1]);
    sums.count++;
  }
  return {
    bicubic: decibels(sums.bicubic / sums.count),
    fusion: decibels(sums.fusion / sums.count),
    experts: sums.experts.map((sum) => decibels(sum / sums.count)),
    blendBound: decibels(sums.blendBound / sums.count),
    flicker: Math.sqrt(sums.flicker / sums.count),
    bicubicFlicker: Math.sqrt(sums.bicubicFlicker / sums.count),
  };
}

function flicker(now: Bytes, before: Bytes, trueNow: Bytes, trueBefore: Bytes): number {
  let sum = 0;
  for (let i = 0; i < now.length; i++) {
    const d = now[i] - before[i] - (trueNow[i] - trueBefore[i]);
    sum += d * d;
  }
  return sum / now.length;
}

/** The clip through x264 as a call sends it; `switch` alternates 1000 and 100 kb/s every half second or so. */
async function encoded(
  low: Bytes[],
  size: { width: number; height: number },
  rate: number | "switch",
): Promise<Bytes[]> {
  if (rate !== "switch") return await through(low, size, rate);
  const parts: Bytes[] = [];
  for (let i = 0, at = 0; at < low.length; i++, at += 12) {
    parts.push(...await through(low.slice(at, at + 12), size, i % 2 === 0 ? 1000 : 100));
  }
  return parts;
}

async function through(
  low: Bytes[],
  { width, height }: { width: number; height: number },
  kbps: number,
): Promise<Bytes[]> {
  const grey = new Uint8Array((width / 2) * (height / 2) * 2).fill(128);
  const file = await Deno.makeTempFile({ suffix: ".mkv" });
  try {
    const raw = `-f rawvideo -pix_fmt yuv420p -s ${width}x${height} -r 25 -i -`.split(" ");
    const codec =
      `-c:v libx264 -preset veryfast -tune zerolatency -b:v ${kbps}k -maxrate ${kbps}k -bufsize ${
        kbps / 2
      }k`.split(" ");
    await ffmpeg([...raw, ...codec, "-y", file], concat(low.flatMap((frame) => [frame, grey])));
    return await planes(["-i", file], width, height, "null");
  } finally {
    await Deno.remove(file);
  }
}

/** The first frames' luma. */
async function planes(
  input: string[],
  width: number,
  height: number,
  filter: string,
): Promise<Bytes[]> {
  const args = [
    ...input,
    ..."-frames:v".split(" "),
    `${frames}`,
    "-vf",
    filter,
    ..."-pix_fmt yuv420p -f rawvideo -".split(" "),
  ];
  const bytes = await ffmpeg(args);
  const size = width * height * 3 / 2;
  return Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, i) => bytes.slice(i * size, i * size + width * height),
  );
}

async function ffmpeg(args: string[], input?: Bytes): Promise<Bytes> {
  const child = new Deno.Command("ffmpeg", {
    args: ["-v", "error", ...args],
    stdin: input ? "piped" : "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const fed = input ? new Blob([input]).stream().pipeTo(child.stdin) : Promise.resolve();
  const [{ success, stdout }] = await Promise.all([child.output(), fed]);
  if (!success) throw new Error(`ffmpeg ${args.join(" ")} failed`);
  return new Uint8Array(stdout);
}

function concat(parts: Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
