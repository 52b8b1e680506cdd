import { GgufFile, type GgufValue } from "../formats/gguf.ts";
import type { Command, CommandContext } from "./command.ts";
import { type Flag, parseFlags } from "./flags.ts";
import { checkInput } from "./check_input.ts";
import { UsageError } from "./usage_error.ts";

const flags = [
  { name: "json", kind: "switch", help: "One JSON object instead of text" },
  { name: "tensors", kind: "switch", help: "List every tensor" },
] as const satisfies readonly Flag[];

/** `sparrow inspect`: the header of a GGUF file. */
export const inspectCommand: Command = {
  usage: "FILE [FLAGS]",
  about: "Shows the metadata and tensors of a GGUF model file. Reads only its header.",
  flags,
  examples: ["sparrow inspect model.gguf --tensors"],
  run,
};

async function run(args: string[], { terminal }: CommandContext): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.rest.length !== 1) {
    throw new UsageError(`inspect takes one file, got ${given.rest.length}`);
  }
  await checkInput(given.rest[0]);
  using file = GgufFile.open(given.rest[0]);
  terminal.out.write(
    given.json ? `${JSON.stringify(toJson(file), null, 2)}\n` : toText(file, given.tensors),
  );
  return 0;
}

function toText(file: GgufFile, listTensors: boolean): string {
  const tensors = [...file.tensors.values()];
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0);
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  const keys = [...file.metadata];
  const lines = [
    `${file.name}: GGUF version ${file.version}`,
    `${elements.toLocaleString("en")} parameters in ${tensors.length} tensors, ${size(bytes)}`,
    "",
    ...columns(keys.map(([key, value]) => [key, shown(value)])),
    "",
    ...columns(byType(tensors)),
  ];
  if (listTensors) {
    lines.push(
      "",
      ...columns(tensors.map((t) => [t.name, `${t.type.name} [${t.shape.join(", ")}]`])),
    );
  }
  return `${lines.join("\n")}\n`;
}

function byType(tensors: { type: { name: string }; byteLength: number }[]): [string, string][] {
  const groups = Map.groupBy(tensors, (tensor) => tensor.type.name);
  return [...groups].map(([type, group]) => [
    type,
    `${group.length} tensors, ${size(group.reduce((sum, tensor) => sum + tensor.byteLength, 0))}`,
  ]);
}

function toJson(file: GgufFile): unknown {
  return {
    file: file.name,
    version: file.version,
    metadata: Object.fromEntries([...file.metadata].map(([key, value]) => [key, plain(value)])),
    tensors: [...file.tensors.values()].map(({ name, type, shape, offset, byteLength }) => ({
      name,
      type: type.name,
      shape,
      offset,
      bytes: byteLength,
    })),
  };
}

function plain(value: GgufValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return value;
  return Array.from(value as ArrayLike<GgufValue>, plain);
}

function shown(value: GgufValue): string {
  if (typeof value === "object") {
    const head = Array.from({ length: Math.min(4, value.length) }, (_, i) => shown(value[i]));
    return `${value.length} × [${head.join(", ")}${value.length > 4 ? ", …" : ""}]`;
  }
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 90 ? `${text.slice(0, 90)}…` : text;
}

function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  return `${(bytes / 1024 ** at).toFixed(at === 0 ? 0 : 1)} ${units[at]}`;
}

function columns(rows: [string, string][]): string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
