import { assertEquals, assertThrows } from "@std/assert";
import { ModelFormatError } from "../../src/common/errors.ts";
import { dequantize, ggmlTypeByName } from "../../src/formats/gguf_blocks.ts";
import { readNpy } from "../../src/formats/npy.ts";
import { quantizedTypes } from "../../src/formats/quantized_blocks.ts";

const folder = new URL("../golden/blocks/", import.meta.url).pathname;

const blocks = (name: string) => {
  const bytes = readNpy(`${folder}${name}.bytes.npy`).data;
  const weights = readNpy(`${folder}${name}.weights.npy`).data;
  if (!(bytes instanceof Uint8Array && weights instanceof Float32Array)) throw new TypeError(name);
  return { bytes, weights };
};

for (const name of quantizedTypes) {
  Deno.test(`dequantize reads ${name} to gguf-py's own bits`, () => {
    const { bytes, weights } = blocks(name);
    assertEquals(dequantize(ggmlTypeByName(name), bytes, weights.length), weights);
  });

  Deno.test(`dequantize of ${name} names a block whose scale is not a number`, () => {
    const type = ggmlTypeByName(name);
    const bytes = blocks(name).bytes.slice();
    // Every half of the last block: one of them is its scale, and K types multiply it by factors that are not all 0.
    bytes.fill(0x7f, bytes.length - type.bytes);
    assertThrows(
      () => dequantize(type, bytes, 512, "m.gguf: output.weight"),
      ModelFormatError,
      `m.gguf: output.weight: the scale of weights ${512 - type.elements} to `,
    );
  });
}
