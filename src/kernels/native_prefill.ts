import { PrefillAttention } from "../../ffi/prefill_attention.ts";
import { PAGE_TOKENS } from "../common/page_tokens.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { StepPass } from "../gpu/pass.ts";
import type { AttentionBuffers } from "./attention.ts";
import type { AttentionShape } from "./attention_shape.ts";
import type { NativeProducts } from "./native_products.ts";

/** Rows of a step that are successive tokens of one sequence's prompt. */
export interface PrefillRows {
  /** The first, of the step. */
  row: number;
  count: number;
  /** Of the first. */
  position: number;
  /** The sequence's, from its start on. */
  pages: readonly number[];
}

/**
 * Attention of prompts that the native library computes while the step is recorded, as `createNativeLinear` does products. Keys and values in half precision only.
 *
 * @param sliding how many of its latest tokens a row sees, its own included; default all
 */
export function createNativePrefill(
  gpu: Gpu,
  { heads, kvHeads, headDim, paddedHeadDim: dim, outputRowQuads }: AttentionShape,
  { query, keys, values, output }: AttentionBuffers,
  native: NativeProducts,
  sliding?: number,
): (pass: StepPass, prefills: readonly PrefillRows[]) => void {
  const rowBytes = heads * dim * 4;
  const pageBytes = kvHeads * PAGE_TOKENS * dim * 2;
  const stride = outputRowQuads * 4;
  const shape = { heads, kvHeads, dim, window: sliding };
  const attend = (pass: StepPass, { row, count, position, pages }: PrefillRows) => {
    native.operands.record(pass, query, row * rowBytes, count * rowBytes);
    const seen = Math.max(0, position + 1 - (sliding ?? Infinity));
    const end = Math.ceil((position + count) / PAGE_TOKENS);
    const run = Math.max(1, Math.floor(native.pageBytes / pageBytes));
    let attention: PrefillAttention | undefined;
    try {
      for (let first = Math.floor(seen / PAGE_TOKENS); first < end; first += run) {
        const some = pages.slice(first, Math.min(first + run, end));
        native.pages.gather(pass, keys, some, pageBytes);
        native.pages.gather(pass, values, some, pageBytes);
        pass.flush();
        attention ??= native.operands.use((mapped) =>
          PrefillAttention.open(shape, position, new Float32Array(mapped, 0, count * rowBytes / 4))
        );
        const length = some.length * pageBytes / 2;
        const halves = new Uint16Array(native.pages.read());
        native.pages.use((mapped) =>
          attention!.attend(first, halves, new Uint16Array(mapped, 0, length))
        );
      }
      const out = native.results.subarray(0, count * stride);
      attention!.finish(headDim, stride, out);
      gpu.buffers.write(output, row * stride * 4, out);
    } finally {
      attention?.[Symbol.dispose]();
    }
  };
  return (pass, prefills) =>
    native.recording(() => {
      for (const rows of prefills) attend(pass, rows);
    });
}
