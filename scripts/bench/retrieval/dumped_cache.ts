import { join } from "@std/path";
import { type NpyType, readNpy } from "../../../src/formats/npy.ts";
import { PAGE_TOKENS } from "../../../src/model/kv_cache.ts";

/** Token ids of a text that `dump_qk.py` or `dump:qk` dumped. */
export function dumpedTokens(folder: string): Uint32Array {
  return read(join(folder, "tokens.npy"), "uint32", 1).data as Uint32Array;
}

/**
 * The first `pages` pages of the keys ("k") or values ("v") of a layer of a dumped text, as a `KvCache` of half precision holds them.
 * @throws RangeError when they are fewer, or not of the cache's shape.
 */
export function dumpedPages(
  folder: string,
  layer: number,
  part: "k" | "v",
  pages: number,
  shape: { kvHeads: number; headDim: number; paddedHeadDim: number },
): Uint16Array<ArrayBuffer> {
  const path = join(folder, `layer${layer}.${part}.npy`);
  const { shape: [heads, tokens, dim], data } = read(path, "float16", 3);
  if (heads !== shape.kvHeads || dim !== shape.headDim || tokens < pages * PAGE_TOKENS) {
    throw new RangeError(
      `${path}: [${heads}, ${tokens}, ${dim}], expected [${shape.kvHeads}, ${
        pages * PAGE_TOKENS
      } or more, ${shape.headDim}]`,
    );
  }
  const halves = data as Uint16Array;
  const stride = shape.paddedHeadDim;
  const out = new Uint16Array(pages * heads * PAGE_TOKENS * stride);
  for (let page = 0; page < pages; page++) {
    for (let head = 0; head < heads; head++) {
      for (let slot = 0; slot < PAGE_TOKENS; slot++) {
        const from = (head * tokens + page * PAGE_TOKENS + slot) * dim;
        const to = ((page * heads + head) * PAGE_TOKENS + slot) * stride;
        out.set(halves.subarray(from, from + dim), to);
      }
    }
  }
  return out;
}

function read(path: string, type: NpyType, dimensions: number) {
  const array = readNpy(path);
  if (array.type !== type || array.shape.length !== dimensions) {
    throw new RangeError(
      `${path}: ${array.type} of ${array.shape.length} dimensions, expected ${type} of ${dimensions}`,
    );
  }
  return array;
}
