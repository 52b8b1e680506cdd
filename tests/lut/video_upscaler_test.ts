import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { threadCount } from "../../ffi/lut_isa.ts";
import { Rng } from "../../src/common/rng.ts";
import { LutModelFile } from "../../src/lut/model_file.ts";
import { NativePath } from "../../src/lut/native_path.ts";
import { QualityLadder } from "../../src/lut/quality_ladder.ts";
import { isSceneCut } from "../../src/lut/scene_cut.ts";
import {
  type ChromaLayout,
  chromaSize,
  frameBytes,
  frameOf,
  type VideoFrame,
} from "../../src/lut/video_frame.ts";
import { enlargeLuma } from "../../src/lut/upscale_image.ts";
import { VideoUpscaler } from "../../src/lut/video_upscaler.ts";
import { WorkerUpscaler } from "../../src/lut/worker_upscaler.ts";
import { gpuTest } from "../support/needs_adapter.ts";
import { needsNative } from "../support/needs_native.ts";

nativeProblem();

function picture(
  rng: Rng,
  layout: ChromaLayout,
  width: number,
  height: number,
  index = 0,
): VideoFrame {
  const bytes = Uint8Array.from(
    { length: frameBytes(layout, width, height) },
    (_, i) => 90 + (i * 3 + index) % 50 + rng.integer(8),
  );
  return frameOf(bytes, layout, width, height, index / 25);
}

async function* pictures(
  count: number,
  made: { count: number; ended: boolean },
  width = 16,
  height = 10,
): AsyncGenerator<VideoFrame> {
  const rng = new Rng(1);
  try {
    for (let i = 0; i < count; i++) {
      made.count++;
      yield picture(rng, "420", width, height, i);
    }
  } finally {
    made.ended = true;
  }
}

Deno.test("VideoUpscaler leaves chroma where it lies beside luma", async (t) => {
  if (!needsNative(t)) return;
  const [width, height] = [48, 32];
  for (const scale of [2, 3, 4] as const) {
    using upscaler = await VideoUpscaler.open({ scale, quality: "bicubic" });
    for (
      const [layout, siting, across, down] of [
        ["420", undefined, 0.5, 0.5],
        ["420", "centre", 0.5, 0.5],
        ["420", "left", 0, 0.5],
        ["420", "topleft", 0, 0],
        ["422", "left", 0, 0],
        ["444", "left", 0, 0],
      ] as const
    ) {
      const [w, h] = chromaSize(layout, width, height);
      const [stepX, stepY] = [width / w, height / h];
      // Ramps of 2 a luma column in u and 4 a luma row in v, sampled where the chroma lies.
      const frame = frameOf(
        new Uint8Array(frameBytes(layout, width, height)).fill(99),
        layout,
        width,
        height,
        0,
        siting,
      );
      const ramps = (scaled: number, x: number, y: number) =>
        [[2, x, stepX, across], [4, y, stepY, down]].map(([slope, at, step, offset]) =>
          20 + slope * ((at * step + offset + 0.5) / scaled - 0.5)
        );
      for (let y = 0; y < h; y++) {
        for (let x = 0; x < w; x++) [frame.u[y * w + x], frame.v[y * w + x]] = ramps(1, x, y);
      }
      const out = await upscaler.upscaleFrame(frame);
      assertEquals(out.siting, siting);
      for (let y = 3 * scale; y < (h - 3) * scale; y++) {
        for (let x = 3 * scale; x < (w - 3) * scale; x++) {
          const at = y * w * scale + x;
          const [u, v] = ramps(scale, x, y);
          const off = Math.max(Math.abs(out.u[at] - u), Math.abs(out.v[at] - v));
          assert(off <= 0.76, `x${scale} ${layout} ${siting}: ${off} at ${x}, ${y}`);
        }
      }
    }
  }
});

Deno.test("VideoUpscaler keeps layout and timestamps at every scale and odd size", async (t) => {
  if (!needsNative(t)) return;
  const rng = new Rng(2);
  for (const scale of [2, 3, 4] as const) {
    using upscaler = await VideoUpscaler.open({ scale });
    for (const layout of ["420", "422", "444", "mono"] as const) {
      for (const [w, h] of [[1, 1], [17, 5], [64, 9]]) {
        const out = await upscaler.upscaleFrame(picture(rng, layout, w, h, 3));
        assertEquals([out.width, out.height, out.layout, out.timestamp], [
          w * scale,
          h * scale,
          layout,
          3 / 25,
        ]);
        const [cw, ch] = chromaSize(layout, w * scale, h * scale);
        assertEquals([out.y.length, out.u.length, out.v.length], [
          w * h * scale ** 2,
          cw * ch,
          cw * ch,
        ]);
      }
    }
  }
});

Deno.test("VideoUpscaler refuses frames that do not fit by their numbers, and goes on", async (t) => {
  if (!needsNative(t)) return;
  await using upscaler = await VideoUpscaler.open({ scale: 2 });
  const good = picture(new Rng(2), "420", 16, 8, 0);
  const wrong: [Partial<VideoFrame>, string][] = [
    [{ width: -16, height: -8 }, "width is -16, expected an integer"],
    [{ width: NaN }, "width is NaN"],
    [{ height: 8.5 }, "height is 8.5"],
    [{ layout: "411" as "420" }, "layout is 411, expected 420, 422, 444 or mono"],
    [{ siting: "center" as "centre" }, "siting is center, expected centre, left or topleft"],
    [{ y: new Uint8Array(5) }, "the frame has 5 pixels, expected 128"],
  ];
  for (const [part, words] of wrong) {
    await assertRejects(() => upscaler.upscaleFrame({ ...good, ...part }), RangeError, words);
  }
  assertEquals((await upscaler.upscaleFrame(good)).y.length, 512);
});

Deno.test("threadCount is one for each core, as many as the native library takes", () => {
  const own = Object.getOwnPropertyDescriptor(navigator, "hardwareConcurrency");
  Object.defineProperty(navigator, "hardwareConcurrency", { value: 384, configurable: true });
  try {
    assertEquals(threadCount(undefined), 256);
    assertEquals(threadCount({ threads: 3 }), 3);
  } finally {
    if (own) Object.defineProperty(navigator, "hardwareConcurrency", own);
    else Reflect.deleteProperty(navigator, "hardwareConcurrency");
  }
});

Deno.test("All banks leave flat areas flat at every grey", (t) => {
  if (!needsNative(t)) return;
  using file = LutModelFile.open();
  const [width, height, edge] = [48, 40, 12];
  for (const scale of [2, 3, 4] as const) {
    using path = new NativePath(file.fusion(scale));
    for (let grey = 16; grey <= 235; grey += 9) {
      const flat = new Uint8Array(width * height).fill(grey);
      for (const bank of [0, 1, 2]) {
        const out = path.fuse(flat, flat, width, height, bank);
        for (let y = edge * scale; y < (height - edge) * scale; y++) {
          for (let x = edge * scale; x < (width - edge) * scale; x++) {
            const value = out[y * width * scale + x];
            assert(Math.abs(value - grey) <= 2, `x${scale}, bank ${bank}: ${grey} became ${value}`);
          }
        }
      }
    }
  }
});

Deno.test("VideoUpscaler and enlargeLuma leave a flat picture flat up to its border, at every quality", async (t) => {
  if (!needsNative(t)) return;
  const near = (plane: Uint8Array, grey: number, what: string) => {
    const worst = plane.findIndex((value) => Math.abs(value - grey) > 2);
    assert(worst < 0, `${what}: ${grey} became ${plane[worst]} at ${worst}`);
  };
  for (const grey of [40, 126, 200, 235]) {
    const flat = frameOf(new Uint8Array(frameBytes("420", 32, 16)).fill(grey), "420", 32, 16);
    for (const quality of ["full", "gate", "bicubic"] as const) {
      using upscaler = await VideoUpscaler.open({ quality });
      const { y, u } = await upscaler.upscaleFrame(flat);
      near(y, grey, quality);
      assert(u.every((value) => value === grey));
    }
    for (const scale of [2, 3, 4] as const) {
      near(enlargeLuma(flat.y, 32, 16, scale), grey, `x${scale}`);
    }
    near(enlargeLuma(flat.y, 32, 16, 4, { model: "two_stage" }), grey, "two stages");
  }
});

Deno.test("VideoUpscaler reads at most its queue ahead, and ends the source when the loop is left or aborted", async (t) => {
  if (!needsNative(t)) return;
  for (const how of ["break", "abort"] as const) {
    using upscaler = await VideoUpscaler.open({ scale: 2, queue: 3 });
    const made = { count: 0, ended: false };
    const controller = new AbortController();
    let seen = 0;
    const work = async () => {
      for await (const _ of upscaler.upscale(pictures(1000, made), { signal: controller.signal })) {
        seen++;
        assert(made.count <= seen + 3, `${made.count} were read for ${seen}`);
        if (seen === 5) {
          if (how === "break") break;
          controller.abort(new DOMException("enough", "AbortError"));
        }
      }
    };
    if (how === "break") await work();
    else await assertRejects(work, DOMException, "enough");
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals([seen, made.ended], [5, true], how);
  }
});

Deno.test("VideoUpscaler gives the frames before a failure of the source, then the failure", async (t) => {
  if (!needsNative(t)) return;
  using upscaler = await VideoUpscaler.open({ scale: 2, quality: "bicubic" });
  async function* broken() {
    yield* pictures(3, { count: 0, ended: false });
    throw new RangeError("the cable is out");
  }
  let seen = 0;
  await assertRejects(
    async () => {
      for await (const _ of upscaler.upscale(broken())) seen++;
    },
    RangeError,
    "the cable is out",
  );
  assertEquals(seen, 3);
});

Deno.test("VideoUpscaler starts afresh after a cut: the frame after it does not depend on the one before", async (t) => {
  if (!needsNative(t)) return;
  using upscaler = await VideoUpscaler.open();
  const rng = new Rng(5);
  const dark = frameOf(new Uint8Array(frameBytes("mono", 32, 32)).fill(20), "mono", 32, 32);
  const next = picture(rng, "mono", 32, 32);
  assert(isSceneCut(next.y, dark.y, 32, 32));
  const alone = await upscaler.upscaleFrame(next);
  upscaler.reset();
  await upscaler.upscaleFrame(dark);
  assertEquals((await upscaler.upscaleFrame(next)).y, alone.y);
  assertEquals(upscaler.stats.sceneCuts, 1);
  // Without a cut the predecessor matters.
  const nudged = { ...next, y: next.y.map((value) => value + 6) };
  upscaler.reset();
  await upscaler.upscaleFrame(nudged);
  const after = await upscaler.upscaleFrame(next);
  assert(after.y.some((value, i) => value !== alone.y[i]));
});

Deno.test("VideoUpscaler's memory stays flat over two thousand frames", async (t) => {
  if (!needsNative(t)) return;
  using upscaler = await VideoUpscaler.open({ scale: 2, quality: "gate", run: { threads: 1 } });
  const made = { count: 0, ended: false };
  let seen = 0, early = 0;
  for await (const _ of upscaler.upscale(pictures(2000, made, 64, 36))) {
    if (++seen === 500) early = Deno.memoryUsage().rss;
  }
  const grown = Deno.memoryUsage().rss - early;
  assert(grown < 48 * 2 ** 20, `grew by ${(grown / 2 ** 20).toFixed(1)} MiB in 1500 frames`);
});

Deno.test("WorkerUpscaler gives the bytes of VideoUpscaler, and refuses what was sent when disposed of", async (t) => {
  if (!needsNative(t)) return;
  using here = await VideoUpscaler.open({ scale: 2 });
  const there = await WorkerUpscaler.open({ scale: 2 });
  const a = await Array.fromAsync(here.upscale(pictures(4, { count: 0, ended: false })));
  const b = await Array.fromAsync(there.upscale(pictures(4, { count: 0, ended: false })));
  assertEquals(b, a);
  const pending = there.upscaleFrame(a[0]);
  there[Symbol.dispose]();
  await assertRejects(() => pending, Error, "disposed");
});

Deno.test("WorkerUpscaler leaves nothing in the native library when it is disposed of", async (t) => {
  if (!needsNative(t)) return;
  const openAndLeave = async (times: number) => {
    for (let i = 0; i < times; i++) {
      const upscaler = await WorkerUpscaler.open({ scale: 2 });
      upscaler[Symbol.dispose]();
      await assertRejects(() => upscaler.upscaleFrame({} as VideoFrame), Error, "disposed");
    }
    return Deno.memoryUsage().rss / 2 ** 20;
  };
  const before = await openAndLeave(8);
  const after = await openAndLeave(24);
  // An upscaler takes 4 MiB there.
  assert(after - before < 48, `24 upscalers took ${after - before} MiB for good`);
});

Deno.test("QualityLadder steps down past its budget, comes back when it is cheap again, and never past its best", () => {
  const ladder = new QualityLadder(10);
  assertEquals(ladder.quality, "full");
  ladder.record(30);
  assertEquals(ladder.quality, "gate");
  for (let i = 0; i < 500; i++) ladder.record(2);
  assertEquals(ladder.quality, "full");
  const slow = new QualityLadder(1);
  for (let i = 0; i < 5; i++) slow.record(50);
  assertEquals(slow.quality, "bicubic");
  const capped = new QualityLadder(10, "gate");
  for (let i = 0; i < 500; i++) capped.record(1);
  assertEquals(capped.quality, "gate");
  assertThrows(() => new QualityLadder(0), RangeError);
});

gpuTest("VideoUpscaler on the GPU makes the frames that it makes on the processor", async () => {
  if (!needsNative({ name: "VideoUpscaler on the GPU" } as Deno.TestContext)) return;
  const rng = new Rng(11);
  const frames = [0, 1].map((i) => picture(rng, "420", 20, 14, i));
  for (const quality of ["full", "gate"] as const) {
    await using cpu = await VideoUpscaler.open({ scale: 2, quality });
    await using gpu = await VideoUpscaler.open({ scale: 2, quality, device: "gpu" });
    assertNotEquals(gpu.description, cpu.description);
    for (const frame of frames) {
      assertEquals(await gpu.upscaleFrame(frame), await cpu.upscaleFrame(frame));
    }
  }
});
