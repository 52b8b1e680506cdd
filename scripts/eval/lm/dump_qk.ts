/**
 * `deno task dump:qk --data DIR [--model FILE] [--layers LIST] [--tokens N] [--out DIR] [--ids FILE]`: writes queries, keys and values
 * after rotary positions, and the text's token ids, for work on indexes and sparse prefill, and reports for each head how far queries lie from the
 * keys' distribution and how much attention the strongest tenth of the keys holds.
 * @module
 */

import { join } from "@std/path";
import { type Flag, parseFlags } from "../../../src/cli/flags.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { encodeNpy, writeNpy } from "../../../src/formats/npy.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { cleanBook } from "./clean_book.ts";
import { FloatModel, type LayerView } from "./float_model.ts";
import { headStatistics } from "./head_statistics.ts";
import { toHalfBits } from "./to_half_bits.ts";

const flags = [
  { name: "data", kind: "text", value: "DIR", help: "Folder with text/2701-0.txt" },
  { name: "model", kind: "text", value: "FILE", help: "Default models/sparrow-tiny.gguf" },
  { name: "layers", kind: "text", value: "LIST", help: "Layers to write (default all)" },
  { name: "tokens", kind: "number", value: "N", help: "Length of the text (default 4096)" },
  { name: "text", kind: "text", value: "FILE", help: "Text file instead of the held-out book" },
  { name: "out", kind: "text", value: "DIR", help: "Folder for the .npy files (default dumps)" },
  {
    name: "ids",
    kind: "text",
    value: "FILE",
    help:
      "Write the text's token ids (u32, little endian) and stop: for dump_qk.py, which takes long texts",
  },
  { name: "report-only", kind: "switch", help: "Write no files" },
] as const satisfies readonly Flag[];

async function main(args: string[]): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.help || (given.data === undefined && given.text === undefined)) {
    console.log("Usage: deno task dump:qk --data DIR [FLAGS]\n");
    for (const flag of flags) console.log(`  --${flag.name.padEnd(12)} ${flag.help}`);
    return given.help ? 0 : 2;
  }
  const path = given.model ?? "models/sparrow-tiny.gguf";
  const tokens = given.tokens ?? 4096;
  const out = given.out ?? "dumps";
  const text = given.text === undefined
    ? cleanBook(await Deno.readTextFile(join(given.data ?? "", "text", "2701-0.txt")))
    : await Deno.readTextFile(given.text);
  using file = GgufFile.open(path);
  const ids = Tokenizer.fromGguf(file.metadata).encode(text.slice(0, tokens * 12)).slice(0, tokens);
  if (ids.length < tokens) {
    throw new RangeError(`the text has ${ids.length} tokens, expected ${tokens}`);
  }
  if (given.ids !== undefined) {
    await Deno.writeFile(given.ids, new Uint8Array(Uint32Array.from(ids).buffer));
    return 0;
  }
  if (!given["report-only"]) {
    await Deno.mkdir(out, { recursive: true });
    const data = Uint32Array.from(ids);
    writeNpy(join(out, "tokens.npy"), { type: "uint32", shape: [tokens], data });
  }
  const model = new FloatModel(file);
  const wanted = given.layers?.split(",").map(Number);
  console.log("layer head  queries' gap to keys  mass of the top 10 % of keys");
  model.run(ids, (view) => {
    if (wanted !== undefined && !wanted.includes(view.layer)) return;
    if (!given["report-only"]) writeLayer(out, model, view, tokens);
    for (const { head, gap, topMass } of headStatistics(model, view, tokens)) {
      console.log(
        `${String(view.layer).padStart(5)} ${String(head).padStart(4)}  ${
          gap.toFixed(2).padStart(20)
        }  ${topMass.toFixed(3).padStart(28)}`,
      );
    }
  });
  return 0;
}

/** `layer<n>.q.npy`, `.k.npy`, `.v.npy`: f16 `[heads, tokens, head_dim]`. */
function writeLayer(out: string, model: FloatModel, view: LayerView, tokens: number): void {
  const parts: [string, Float32Array, number][] = [
    ["q", view.queries, model.heads],
    ["k", view.keys, model.kvHeads],
    ["v", view.values, model.kvHeads],
  ];
  for (const [name, rows, heads] of parts) {
    const data = toHalfBits(byHead(rows, heads, model.headDim));
    const shape = [heads, tokens, model.headDim];
    Deno.writeFileSync(
      join(out, `layer${view.layer}.${name}.npy`),
      encodeNpy({ type: "float16", shape, data }),
    );
  }
}

/** `[tokens, heads, dim]` as `[heads, tokens, dim]`. */
function byHead(rows: Float32Array, heads: number, dim: number): Float32Array {
  const tokens = rows.length / (heads * dim);
  const out = new Float32Array(rows.length);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const from = (token * heads + head) * dim;
      out.set(rows.subarray(from, from + dim), (head * tokens + token) * dim);
    }
  }
  return out;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
