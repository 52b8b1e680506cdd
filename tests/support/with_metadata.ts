import { GgufFile } from "../../src/formats/gguf.ts";
import { encodeGguf, type GgufInput } from "../../src/formats/gguf_writer.ts";

/** Copies the GGUF file at `from` to `to`, with `more` metadata, which goes before its own. */
export function withMetadata(from: string, to: string, more: Record<string, GgufInput>): void {
  using file = GgufFile.open(from);
  const own = [...file.metadata].map(([key, value]): [string, GgufInput] => {
    if (typeof value !== "number" && typeof value !== "bigint") return [key, value];
    return [key, { type: Number.isInteger(value) ? "uint32" : "float32", value }];
  });
  const tensors = [...file.tensors.values()].map((tensor) => ({
    name: tensor.name,
    shape: [...tensor.shape],
    type: tensor.type.name,
    bytes: file.readTensor(tensor),
  }));
  Deno.writeFileSync(
    to,
    encodeGguf({ metadata: { ...Object.fromEntries(own), ...more }, tensors }),
  );
}
