import { ByteMatrix } from "../../ffi/byte_matrix.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { StepPass } from "../gpu/pass.ts";
import { Readback } from "../gpu/readback.ts";

/** Most numbers that products of a step take and yield. */
export interface ProductSizes {
  /** Of all rows of an operand. */
  operand: number;
  /** Of all rows of a product. */
  product: number;
  /** Of the rows that are sampled. */
  gathered: number;
  /** Bytes of a page's keys or values. */
  pageBytes: number;
}

/** Bytes of keys or values that are read at a time, if a page is not more. */
const PAGES_BYTES = 8 << 20;

/** Where products that the native library makes take their rows from and leave their results. Products run one after the other and share it. */
export class NativeProducts {
  private constructor(
    readonly operands: Readback,
    /** Keys and values, read in turn. */
    readonly pages: Readback,
    /** Most bytes of either at a time. */
    readonly pageBytes: number,
    /** Products in panels, `[columns / 32][rows][32]`. */
    readonly product: GPUBuffer,
    /** Rows listed for sampling, next to each other. */
    readonly gathered: GPUBuffer,
    /** What is written to `product`. */
    readonly results: Float32Array<ArrayBuffer>,
  ) {}

  /** Records what reads, and forgets what was not read where that fails: the next step would take it for its own. */
  recording(record: () => void): void {
    try {
      record();
    } catch (error) {
      this.operands.forget();
      this.pages.forget();
      throw error;
    }
  }

  /** Whether products are made faster natively than by this adapter. */
  static pay(gpu: Gpu): boolean {
    return gpu.adapterClass === "software" && ByteMatrix.pays;
  }

  /**
   * Undefined where a step cannot wait for its operands, which it does while it is recorded: on a Deno whose `mapAsync` has to be awaited, or where they are
   * more than the device binds.
   */
  static async open(gpu: Gpu, sizes: ProductSizes): Promise<NativeProducts | undefined> {
    const { operand, product, gathered } = sizes;
    const { largest } = gpu.buffers;
    if (Math.max(operand * 4, product * 4, gathered * 4, sizes.pageBytes) > largest) {
      return undefined;
    }
    const pageBytes = Math.max(Math.min(PAGES_BYTES, largest), sizes.pageBytes);
    const operands = await Readback.open(gpu, operand * 4);
    const buffer = gpu.buffers.storage("products", product * 4);
    const pass = new StepPass(gpu);
    operands.record(pass, buffer, 0, 4);
    pass.submit();
    try {
      operands.read();
    } catch {
      await operands.readAwaited();
      operands.dispose();
      gpu.buffers.destroy(buffer);
      return undefined;
    }
    return new NativeProducts(
      operands,
      await Readback.open(gpu, pageBytes, 2),
      pageBytes,
      buffer,
      gpu.buffers.storage("sampled rows", gathered * 4),
      new Float32Array(product),
    );
  }
}
