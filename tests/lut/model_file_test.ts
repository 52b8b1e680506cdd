import { assert, assertEquals, assertThrows } from "@std/assert";
import { ModelFormatError } from "../../src/common/errors.ts";
import { embeddedModelPath, fusionBanks, LutModelFile } from "../../src/lut/model_file.ts";

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}
type Header = Record<string, Entry> & { __metadata__: Record<string, string> };

const bytes = Deno.readFileSync(embeddedModelPath());
const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));

function parsed(): Header {
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
}

/** The embedded model with its header changed, as a file. */
function withHeader<T>(change: (header: Header) => void, use: (path: string) => T): T {
  const header = parsed();
  change(header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const path = Deno.makeTempFileSync({ suffix: ".safetensors" });
  try {
    const length = new Uint8Array(new BigUint64Array([BigInt(text.length)]).buffer);
    using file = Deno.openSync(path, { write: true });
    for (const part of [length, text, bytes.subarray(8 + headerLength)]) file.writeSync(part);
    return use(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** A file must not have gaps: what is to be missing keeps its bytes under another name. */
function away(header: Header, name: string): void {
  header[`x.${name}`] = header[name];
  delete header[name];
}

/** Reads all that a video takes from the file. */
function readAll(path: string): void {
  using file = LutModelFile.open(path);
  for (const scale of [2, 3, 4] as const) {
    file.fusion(scale);
    file.single(scale);
    file.twoStage(scale);
  }
  file.damage();
  file.bank();
}

Deno.test("LutModelFile reads the banks of every scale: nets whose sizes chain, other weights", () => {
  using file = LutModelFile.open();
  for (const scale of [2, 3, 4] as const) {
    const banks = file.fusion(scale);
    assertEquals(banks.length, fusionBanks.length);
    for (const { gates, trunk, experts } of banks) {
      for (const net of [gates, trunk]) {
        net.slice(1).forEach((layer, i) => assertEquals(layer.inputs, net[i].outputs));
      }
      assertEquals(trunk.at(-1)!.outputs, scale ** 2);
      assert(gates.at(-1)!.outputs <= experts);
    }
  }
  const [clean, mixed] = file.fusion(4);
  assert(clean.trunk[1].weights.some((value, i) => value !== mixed.trunk[1].weights[i]));
});

Deno.test("LutModelFile refuses files of another format, with parts missing, of another type or another length", () => {
  const cases: [string, (header: Header) => void, string][] = [
    ["format", (h) => h.__metadata__.format = "sparrow-video-1", "expected sparrow-video-4"],
    ["no metadata", (h) => h.__metadata__ = {}, "format is absent"],
    ["no shift", (h) => delete h.__metadata__.shift, "metadata shift is absent"],
    ["shift", (h) => h.__metadata__.shift = "-5", "expected positive integers"],
    ["pattern", (h) => h.__metadata__.patterns = "s,constructor", "pattern is constructor"],
    ["bank absent", (h) => away(h, "bank.weight"), "bank.weight"],
    ["experts absent", (h) => away(h, "x3.experts.e"), "x3.experts.e"],
    ["a bank's layers absent", (h) => {
      for (const name of Object.keys(h)) if (name.startsWith("x2.mixed.trunk.")) away(h, name);
    }, "x2.mixed.trunk"],
    ["one bias absent", (h) => away(h, "x4.clean.gates.1.bias"), "x4.clean.gates.1.bias"],
    ["wrong lengths", (h) => {
      [h["bank.weight"], h["damage.weight"]] = [h["damage.weight"], h["bank.weight"]];
    }, "damage.weight has 80 values, expected 480"],
    ["a stage's shape", (h) => {
      h["x4.two_stage.first.tables"].shape = [6, 4, 6561];
      h["x4.two_stage.second.tables"].shape = [16 * 6561, 16];
    }, "x4.two_stage.second.tables is [104976,16]"],
    ["a stage's offsets", (h) => {
      h["x4.two_stage.second.tables"].shape = [32, 6561, 8];
    }, "expected [patterns,rows,a square]"],
    ["a stage's patterns", (h) => {
      h["x4.two_stage.second.tables"].shape = [64, 6561, 4];
    }, "x4.two_stage.second.offsets has 128 values, expected 8 x 64"],
    ["type", (h) => h["x4.mixed.trunk.0.weight"].dtype = "U8", "expected I8"],
    ["beyond the end", (h) => h["damage.bias"].data_offsets = [1 << 30, (1 << 30) + 24], ""],
  ];
  for (const [name, change, message] of cases) {
    withHeader(change, (path) => {
      const error = assertThrows(() => readAll(path), ModelFormatError, message, name);
      assert(error.message.includes(path), `${name}: ${error.message}`);
    });
  }
});

Deno.test("LutModelFile refuses every truncation with one clear error", () => {
  const path = Deno.makeTempFileSync({ suffix: ".safetensors" });
  try {
    for (const length of [0, 7, 8, 100, headerLength + 7, headerLength + 8, bytes.length - 1]) {
      Deno.writeFileSync(path, bytes.subarray(0, length));
      assertThrows(() => readAll(path), ModelFormatError);
    }
  } finally {
    Deno.removeSync(path);
  }
});
