import { enlargePlane, type PlaneSiting } from "../../ffi/lut_enlarge.ts";
import type { LutRunOptions } from "../../ffi/lut_isa.ts";
import { BankChooser } from "./bank_chooser.ts";
import { blendExperts } from "./blend_experts.ts";
import { checkUpscale } from "./check_upscale.ts";
import { type DamageModel, estimateDamage } from "./damage.ts";
import type { LumaDevice, LumaPath } from "./luma_path.ts";
import { LutModelFile, type LutScale, type SingleExperts } from "./model_file.ts";
import { NativePath } from "./native_path.ts";
import { prefetch } from "./prefetch.ts";
import { type Quality, QualityLadder } from "./quality_ladder.ts";
import { isSceneCut } from "./scene_cut.ts";
import { chromaSize, type VideoFrame } from "./video_frame.ts";

/** How to open a `VideoUpscaler`. */
export interface VideoUpscalerOptions {
  /** 2, 3 or 4; default 4. */
  scale?: LutScale;
  /** The dearest step used. Default "full". */
  quality?: Quality;
  /** Milliseconds that a frame may take: quality steps down rather than the stream falling behind. Default: no limit. */
  budgetMs?: number;
  /** The frame is a picture by itself, which makes it likelier to be clean. Default false. */
  still?: boolean;
  /** Frames read ahead. Default 4. */
  queue?: number;
  /** Where luma is computed, to the same bytes; default: the processor. Shaders pay on a real GPU, and the rest stays on the processor. */
  device?: LumaDevice;
  /** What computes luma, in place of `device`. The upscaler then owns it. */
  path?: LumaPath;
  /** Model file; default: the embedded one. */
  model?: string;
  /** Instruction set and threads of the native path. */
  run?: Omit<LutRunOptions, "out">;
}

/** What an upscaler has done so far. */
export interface VideoUpscalerStats {
  /** Frames given out. */
  frames: number;
  /** Frames by quality. */
  byQuality: Record<Quality, number>;
  /** Cuts at which the previous frame was forgotten. */
  sceneCuts: number;
  /** Milliseconds spent computing. */
  busyMs: number;
}

/** Frames between looks at the damage for the blended table: it follows a bitrate that changes within a second. */
const damageInterval = 12;
/** Total change of the level weights under which the blended table is kept. */
const gateTolerance = 0.1;

/**
 * Enlarges video by look-up tables. Luma goes through the fusion net (or a cheaper step when the budget is short), chroma
 * through bicubic; range, matrix and siting stay as they are, timestamps pass untouched. Each frame may use its predecessor, so one
 * upscaler serves one stream; a change of size or a scene cut starts afresh.
 *
 * Source: "Online Streaming Video Super-Resolution with Convolutional Look-Up Table" (IEEE TIP 33, 2024), rebuilt on
 * difference tables, a gate net at half resolution and an int8 residual branch.
 */
export class VideoUpscaler implements AsyncDisposable, Disposable {
  /** Enlargement. */
  readonly scale: LutScale;
  /** Counts since it was opened. */
  readonly stats: VideoUpscalerStats = {
    frames: 0,
    byQuality: { full: 0, gate: 0, bicubic: 0 },
    sceneCuts: 0,
    busyMs: 0,
  };
  readonly #path: LumaPath;
  readonly #singles: SingleExperts;
  readonly #damage: DamageModel;
  readonly #banks: BankChooser;
  readonly #ladder: QualityLadder;
  readonly #queue: number;
  readonly #cpu: { threads?: number };
  #previous: VideoFrame | undefined;
  #levels: Float64Array<ArrayBuffer> | undefined;
  #blended: Float64Array<ArrayBuffer> | undefined;
  #sinceDamage = 0;

  private constructor(options: VideoUpscalerOptions, file: LutModelFile, path: LumaPath) {
    this.scale = options.scale ?? 4;
    this.#ladder = new QualityLadder(options.budgetMs ?? Infinity, options.quality);
    this.#queue = options.queue ?? 4;
    this.#singles = file.single(this.scale);
    this.#damage = file.damage();
    this.#banks = new BankChooser(file.bank(), options);
    this.#cpu = { threads: options.run?.threads };
    this.#path = path;
  }

  /**
   * Opens the embedded model (or `options.model`).
   * @throws {RangeError} for a scale, quality, budget, queue, device, instruction set or number of threads that there is not.
   * @throws {ModelFormatError} when the model file is not one.
   * @throws {Error} without the native library, or without an adapter for shaders.
   */
  static async open(options: VideoUpscalerOptions = {}): Promise<VideoUpscaler> {
    checkUpscale(options);
    using file = LutModelFile.open(options.model);
    return new VideoUpscaler(options, file, options.path ?? await openPath(options, file));
  }

  /** Instruction set or adapter that computes luma. */
  get description(): string {
    return this.#path.description;
  }

  /**
   * The frames of `source`, enlarged, in order. At most `queue` frames are held; leaving the loop, or `signal`, ends the
   * source. A failure of the source comes after all frames before it.
   */
  async *upscale(
    source: AsyncIterable<VideoFrame>,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncGenerator<VideoFrame> {
    for await (const frame of prefetch(source, this.#queue, signal)) {
      yield await this.upscaleFrame(frame);
    }
  }

  /** One frame; its predecessor is the frame of the call before. Rejects with `RangeError` for sides or planes that do not fit, or a layout or siting that there is not. */
  async upscaleFrame(frame: VideoFrame): Promise<VideoFrame> {
    const start = performance.now();
    const { width, height } = frame;
    const [cw, ch] = chromaSize(frame.layout, width, height);
    const siting = chromaSiting(frame);
    const before = this.#predecessor(frame);
    const quality = this.#ladder.quality;
    const luma = this.#luma(quality, frame, before);
    const chroma = (plane: Uint8Array<ArrayBuffer>) => {
      // An array of its own: workers give results away with the buffer behind them.
      if (plane.length === 0) return new Uint8Array(0);
      const big = enlargePlane(plane, cw, ch, this.scale, { ...this.#cpu, siting });
      const [w, h] = chromaSize(frame.layout, width * this.scale, height * this.scale);
      return crop(big, cw * this.scale, w, h);
    };
    // Here, while a GPU is at the luma.
    const [u, v] = [chroma(frame.u), chroma(frame.v)];
    const out: VideoFrame = {
      width: width * this.scale,
      height: height * this.scale,
      layout: frame.layout,
      y: await luma,
      u,
      v,
      ...(frame.siting === undefined ? {} : { siting: frame.siting }),
      ...(frame.timestamp === undefined ? {} : { timestamp: frame.timestamp }),
    };
    this.#previous = frame;
    const cost = performance.now() - start;
    this.#ladder.record(cost);
    this.stats.frames++;
    this.stats.byQuality[quality]++;
    this.stats.busyMs += cost;
    return out;
  }

  /** Forgets the stream so far: the next frame has no predecessor. */
  reset(): void {
    this.#previous = undefined;
    this.#forgetDamage();
  }

  /** Frees the tables. */
  [Symbol.dispose](): void {
    this.#path[Symbol.dispose]();
  }

  /** Frees the tables. */
  // deno-lint-ignore require-await -- for `await using`
  async [Symbol.asyncDispose](): Promise<void> {
    this.#path[Symbol.dispose]();
  }

  #predecessor(frame: VideoFrame): VideoFrame {
    const last = this.#previous;
    if (!last) return frame;
    if (last.width !== frame.width || last.height !== frame.height) {
      this.reset();
      return frame;
    }
    if (isSceneCut(frame.y, last.y, frame.width, frame.height)) {
      this.stats.sceneCuts++;
      this.#forgetDamage();
      return frame;
    }
    return last;
  }

  #forgetDamage(): void {
    this.#levels = undefined;
    this.#banks.reset();
  }

  #luma(
    quality: Quality,
    frame: VideoFrame,
    before: VideoFrame,
  ): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
    const { width, height } = frame;
    switch (quality) {
      case "full":
        return this.#path.fuse(
          frame.y,
          before.y,
          width,
          height,
          this.#banks.choose(frame.y, width, height),
        );
      case "gate":
        this.#followDamage(frame);
        return this.#path.cascade(frame.y, width, height);
      case "bicubic":
        return enlargePlane(frame.y, width, height, this.scale, this.#cpu);
    }
  }

  /** Keeps the blended table fit for the damage seen of late. */
  #followDamage(frame: VideoFrame): void {
    const due = this.#levels === undefined || ++this.#sinceDamage >= damageInterval;
    if (!due && this.#blended) return;
    this.#sinceDamage = 0;
    const now = estimateDamage(frame.y, frame.width, frame.height, this.#damage);
    // One frame tells little; three looks average out a level or so of error.
    this.#levels = this.#levels?.map((old, i) => 0.6 * old + 0.4 * now[i]) ?? now;
    const change = this.#blended
      ? this.#levels.reduce((sum, level, i) => sum + Math.abs(level - this.#blended![i]), 0)
      : Infinity;
    if (change < gateTolerance) return;
    this.#path.setStages([blendExperts(this.#singles, this.#levels)]);
    this.#blended = this.#levels;
  }
}

async function openPath(
  { device, scale = 4, run }: VideoUpscalerOptions,
  file: LutModelFile,
): Promise<LumaPath> {
  const models = file.fusion(scale);
  if (device !== "gpu") return new NativePath(models, run);
  // Only then: a server's isolate has nothing of the GPU.
  const { GpuPath } = await import("./gpu_path.ts");
  return await GpuPath.open(models);
}

/** Throws `RangeError` for a siting that there is not: "center" must not count as another one. */
function chromaSiting({ layout, siting = "centre" }: VideoFrame): PlaneSiting {
  if (siting !== "centre" && siting !== "left" && siting !== "topleft") {
    throw new RangeError(`siting is ${siting as unknown}, expected centre, left or topleft`);
  }
  const across = (layout === "420" || layout === "422") && siting !== "centre" ? 1 : 2;
  return [across, layout === "420" && siting === "topleft" ? 1 : 2];
}

/** The first `width` columns and `height` rows: chroma of an odd size enlarges to more than its luma needs. */
function crop(
  plane: Uint8Array<ArrayBuffer>,
  stride: number,
  width: number,
  height: number,
): Uint8Array<ArrayBuffer> {
  if (stride === width && plane.length === width * height) return plane;
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    out.set(plane.subarray(y * stride, y * stride + width), y * width);
  }
  return out;
}
