import { DeviceLostError, OutOfMemoryError } from "../common/errors.ts";
import { log } from "../common/log.ts";
import { type AdapterClass, classifyAdapter } from "./adapter_class.ts";
import { BufferPool } from "./buffer_pool.ts";
import { fastByteProducts } from "./fast_byte_products.ts";
import { PipelineCache } from "./pipeline_cache.ts";

/** How to open a device. */
export interface GpuOptions {
  /** Most bytes of buffers that may be alive at once; default 64 GiB on real GPUs, 12 GiB on software ones. */
  maxBytes?: number;
  /** Most bytes of one of them; default what the device binds to a shader. */
  maxBufferBytes?: number;
  /** Ask for `timestamp-query`, so that `GpuTimer` measures. Default false: timing code then costs nothing. */
  timing?: boolean;
  /** Whether shaders may use subgroup operations where the device has them; default true. Without them results are the same. */
  subgroups?: boolean;
  /** Which kernels to run; default by adapter class. */
  kernels?: KernelFamily;
  powerPreference?: "low-power" | "high-performance";
}

/**
 * The limits that the kernels need beyond WebGPU's defaults, each with its reason. They are asked for at the adapter's own
 * maximum: a device refuses larger buffers than it was opened for, however much memory it has.
 */
const wantedLimits = [
  "maxBufferSize", // default 256 MiB: one layer's keys of a long context, or an embedding table, is larger
  "maxStorageBufferBindingSize", // default 128 MiB, same reason
  "maxStorageBuffersPerShaderStage", // default 8: the fused QKV kernel binds 12
  "maxComputeInvocationsPerWorkgroup", // default 256: reductions on discrete GPUs use up to 1024
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize", // default 16 KiB: the more rows fit, the fewer passes over shared pages (shared_tiles.ts)
] as const;

/** Storage buffers that the kernel with the most of them binds: the fused QKV projection of Q8_0 weights with biases. */
const STORAGE_BUFFERS = 12;

/** Features used when present. `subgroups` is not listed by Deno's adapters, yet can be required. */
const wantedFeatures = ["subgroups"] as const;

/**
 * Two families of kernels compute the same: `lanes` are register tiles in groups of 8 lanes, made for adapters that run on a CPU;
 * `wide` are workgroup-memory tiles of 64 to 256 threads, made for real GPUs.
 */
export type KernelFamily = "lanes" | "wide";

/** An open device with everything that belongs to its lifetime. */
export class Gpu implements Disposable {
  readonly device: GPUDevice;
  readonly adapterClass: AdapterClass;
  /** Name of the adapter, for people and for measurement files. */
  readonly description: string;
  /** Whether shaders may use subgroup operations, with a subgroup of at least 8 lanes. */
  readonly subgroups: boolean;
  readonly kernels: KernelFamily;
  /** Whether products of bytes are known to be fast on the adapter, with the kernels that it runs. */
  readonly byteProducts: boolean;
  readonly buffers: BufferPool;
  readonly pipelines: PipelineCache;
  /** Settles, never rejects, when the device is lost for any reason but `dispose`. */
  readonly lost: Promise<DeviceLostError>;
  #lostError: DeviceLostError | undefined;
  #fault: Error | undefined;
  #disposed = false;

  private constructor(
    device: GPUDevice,
    info: GPUAdapterInfo,
    subgroups: boolean,
    { kernels, maxBytes, maxBufferBytes }: GpuOptions,
  ) {
    this.device = device;
    this.description = describe(info);
    this.adapterClass = classifyAdapter({ ...pick(info), description: this.description });
    this.subgroups = subgroups;
    this.kernels = kernels ?? (this.adapterClass === "software" ? "lanes" : "wide");
    this.byteProducts = this.kernels === "wide" && fastByteProducts(info.vendor);
    this.buffers = new BufferPool(
      device,
      maxBytes ?? (this.adapterClass === "software" ? 12 : 64) * 2 ** 30,
      maxBufferBytes,
    );
    this.pipelines = new PipelineCache(device);
    const { promise, resolve } = Promise.withResolvers<DeviceLostError>();
    this.lost = promise;
    device.lost.then((reason) => {
      if (this.#disposed) return;
      this.#lostError = new DeviceLostError(
        `GPU device was lost (${reason.reason}): ${reason.message}`,
      );
      resolve(this.#lostError);
    });
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const message = error.message.slice(0, 2000);
      this.#fault ??= error instanceof GPUOutOfMemoryError
        ? new OutOfMemoryError(
          `GPU memory ran out with ${this.buffers.bytes} bytes asked for: ${message}; less memory for keys and values ` +
            "(--kv-memory, maxKvBytes) or a shorter context (--context, contextLength) needs less",
        )
        : new Error(`GPU validation failed: ${message}`);
      log("error", this.#fault.message);
    });
  }

  /**
   * Opens the default adapter.
   * @throws {Error} when there is no adapter, with what to install.
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    const adapter = await navigator.gpu?.requestAdapter({
      powerPreference: options.powerPreference ?? "high-performance",
    });
    if (!adapter) {
      throw new Error(
        "open a GPU: no adapter was found; install a Vulkan driver, or for a machine without GPU the software one " +
          "(Debian/Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1) and set DENO_WEBGPU_BACKEND=vulkan",
      );
    }
    if (adapter.limits.maxStorageBuffersPerShaderStage < STORAGE_BUFFERS) {
      throw new Error(
        `open a GPU: ${
          describe(adapter.info)
        } binds ${adapter.limits.maxStorageBuffersPerShaderStage} storage buffers to a shader, ` +
          `expected at least ${STORAGE_BUFFERS}`,
      );
    }
    const requiredLimits = Object.fromEntries(
      wantedLimits.map((name) => [name, adapter.limits[name]]),
    );
    const timing: GPUFeatureName[] = options.timing && adapter.features.has("timestamp-query")
      ? ["timestamp-query"]
      : [];
    const request = (features: readonly string[]) =>
      adapter.requestDevice({
        requiredFeatures: [...timing, ...features] as GPUFeatureName[],
        requiredLimits,
      });
    let subgroups = options.subgroups !== false && adapter.info.subgroupMinSize >= 8;
    let device: GPUDevice;
    try {
      device = await request(subgroups ? wantedFeatures : []);
    } catch {
      // Not an error: `subgroups` cannot be probed other than by asking for it.
      subgroups = false;
      device = await (await navigator.gpu.requestAdapter())!.requestDevice({
        requiredFeatures: timing,
        requiredLimits,
      });
    }
    return new Gpu(device, adapter.info, subgroups, options);
  }

  /** Throws when the device is lost or a command was invalid: called once a step, since WebGPU reports neither by itself. */
  check(): void {
    if (this.#lostError) throw this.#lostError;
    if (this.#fault) throw this.#fault;
  }

  /** Destroys the device and every buffer on it. Idempotent. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.buffers.destroyAll();
    this.device.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function pick(info: GPUAdapterInfo): { vendor: string; device: string } {
  return { vendor: String(info.vendor), device: String(info.device) };
}

/** Deno puts the adapter's name in `device` or `description` depending on its version. */
function describe(info: GPUAdapterInfo): string {
  const named = [info.description, info.device].find((text) => /[a-z]/i.test(String(text ?? "")));
  return named ?? `vendor ${info.vendor}`;
}
