import { assert, assertEquals } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { Rng } from "../../src/common/rng.ts";
import { BankChooser } from "../../src/lut/bank_chooser.ts";
import { damageFeatureCount, damageFeatures } from "../../src/lut/damage.ts";
import type { LumaPath } from "../../src/lut/luma_path.ts";
import { LutModelFile } from "../../src/lut/model_file.ts";
import { NativePath } from "../../src/lut/native_path.ts";
import { frameBytes, frameOf, type VideoFrame } from "../../src/lut/video_frame.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();

const [width, height] = [64, 48];

/** Detail everywhere, as a camera's. */
function sharp(rng: Rng): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    { length: width * height },
    (_, i) => 110 + 25 * Math.sin((i % width) / 2) + 8 * Math.sin(i / width) + rng.integer(12),
  );
}

/** Flat 4x4 blocks with seams, as a starved codec's. */
function blocky(rng: Rng): Uint8Array<ArrayBuffer> {
  const blocks = Uint8Array.from({ length: width * height / 16 }, () => 110 + rng.integer(14));
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return blocks[(y >> 2) * (width / 4) + (x >> 2)];
  });
}

/** Two for what `blocky` has and -2 for what `sharp` has, exactly: the difference of their features scaled. */
function discriminator(rng: Rng) {
  const [a, b] = [sharp(rng), blocky(rng)].map((y) => damageFeatures(y, width, height));
  const apart = a.reduce((sum, value, i) => sum + (b[i] - value) ** 2, 0);
  const weight = Float32Array.from(a, (value, i) => 4 * (b[i] - value) / apart);
  const bias = -2 - a.reduce((sum, value, i) => sum + weight[i] * value, 0);
  return { weight, bias };
}

Deno.test("BankChooser takes the first frame for itself and follows a stream that turns bad or good within a second", () => {
  const rng = new Rng(1);
  const chooser = new BankChooser(discriminator(rng));
  const run = (make: (rng: Rng) => Uint8Array, count: number) =>
    Array.from({ length: count }, () => chooser.choose(make(rng), width, height));
  assertEquals(run(sharp, 12), Array(12).fill(0));
  const turned = run(blocky, 24);
  assert(turned.indexOf(1) >= 0 && turned.indexOf(1) <= 12, `${turned}`);
  assertEquals(turned.slice(turned.indexOf(1)), Array(24 - turned.indexOf(1)).fill(1), "once");
  const back = run(sharp, 24);
  assert(back.lastIndexOf(1) < 12, `${back}`);
  chooser.reset();
  assertEquals(run(blocky, 1), [1], "after a cut nothing of the old scene counts");
});

Deno.test("BankChooser keeps its bank while the evidence stays near the border", () => {
  const rng = new Rng(2);
  // Whatever is seen, the promised gain alternates by less than the margin.
  const model = { weight: new Float32Array(damageFeatureCount), bias: -0.09 };
  const chooser = new BankChooser(model);
  assertEquals(chooser.choose(sharp(rng), width, height), 1);
  for (let i = 0; i < 60; i++) {
    model.bias = i % 8 < 4 ? -0.14 : -0.06;
    assertEquals(chooser.choose(sharp(rng), width, height), 1, `frame ${i}`);
  }
  model.bias = -1;
  for (let i = 0; i < 12; i++) chooser.choose(sharp(rng), width, height);
  assertEquals(chooser.choose(sharp(rng), width, height), 0);
});

Deno.test("BankChooser takes the third bank while the damage is heavy, with reluctance, and never for a still", () => {
  const y = sharp(new Rng(5));
  const damage = {
    weight: new Float32Array(6 * damageFeatureCount),
    bias: new Float32Array(6).fill(-50),
  };
  const level = (mean: number) => {
    // All the probability on the two levels around the mean.
    damage.bias.fill(-50);
    damage.bias[Math.floor(mean)] = Math.log(1 - mean % 1);
    if (mean % 1 > 0) damage.bias[Math.floor(mean) + 1] = Math.log(mean % 1);
  };
  const model = { weight: new Float32Array(damageFeatureCount), bias: 1, damage };
  const chooser = new BankChooser(model);
  const run = (mean: number, count: number) => {
    level(mean);
    return Array.from({ length: count }, () => chooser.choose(y, width, height));
  };
  assertEquals(run(2.4, 8), Array(8).fill(1));
  assertEquals(run(2.7, 24), Array(24).fill(1), "within the margin");
  assertEquals(run(3.5, 16).at(-1), 2);
  assertEquals(run(2.3, 24), Array(24).fill(2), "within the margin");
  assertEquals(run(1, 16).at(-1), 1);
  chooser.reset();
  assertEquals(run(2.6, 1), [2], "after a cut nothing of the old scene counts");
  model.bias = -1;
  assertEquals(run(5, 16).at(-1), 0, "clean input stays with the clean bank");
  model.bias = 1;
  assertEquals(new BankChooser(model, { still: true }).choose(y, width, height), 1);
  assertEquals(new BankChooser({ ...model, damage: undefined }).choose(y, width, height), 1);
});

Deno.test("VideoUpscaler passes the chosen bank to its path, looks anew after a cut and gives that bank's bytes", async (t) => {
  if (!needsNative(t)) return;
  using file = LutModelFile.open();
  using native = new NativePath(file.fusion(2));
  const expected = new BankChooser(file.bank());
  const banks: number[] = [];
  const path: LumaPath = {
    description: "recorder",
    fuse: (frame, previous, w, h, bank) => {
      banks.push(bank!);
      return native.fuse(frame, previous, w, h, bank);
    },
    setStages: () => {},
    cascade: (frame) => frame,
    [Symbol.dispose]: () => {},
  };
  using upscaler = await VideoUpscaler.open({ scale: 2, path });
  const rng = new Rng(3);
  const frames = [
    ...Array.from({ length: 9 }, () => sharp(rng)),
    ...Array.from({ length: 12 }, () => blocky(rng)),
    // A cut: brighter by far.
    ...Array.from({ length: 3 }, () => sharp(rng).map((value) => value + 90)),
  ];
  let before: VideoFrame | undefined;
  for (const [i, y] of frames.entries()) {
    const bytes = new Uint8Array(frameBytes("mono", width, height));
    bytes.set(y);
    const frame = frameOf(bytes, "mono", width, height);
    if (i === 21) {
      expected.reset();
      before = undefined;
    }
    const out = await upscaler.upscaleFrame(frame);
    const bank = expected.choose(frame.y, width, height);
    assertEquals(banks[i], bank, `frame ${i}`);
    assertEquals(
      out.y,
      native.fuse(frame.y, (before ?? frame).y, width, height, bank),
      `frame ${i}`,
    );
    before = frame;
  }
  assertEquals(upscaler.stats.sceneCuts, 1);
});

Deno.test("BankChooser takes the mixed bank for a still only when it promises more than for a stream", () => {
  const y = sharp(new Rng(4));
  for (const [bias, stream, still] of [[-0.15, 0, 0], [0.05, 1, 0], [0.2, 1, 1]]) {
    const model = { weight: new Float32Array(damageFeatureCount), bias };
    assertEquals(new BankChooser(model).choose(y, width, height), stream);
    assertEquals(new BankChooser(model, { still: true }).choose(y, width, height), still);
  }
});
