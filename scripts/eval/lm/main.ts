/**
 * `deno task eval:lm --data DIR [--quick] [--json FILE] [--svg FILE]`: what the language model can do, measured in the
 * engine: task accuracy by context length, bits per byte, feed-forward sparsity.
 * @module
 */

import { join } from "@std/path";
import { type Flag, parseFlags } from "../../../src/cli/flags.ts";
import { runnerSizes } from "../../../src/cli/runner_sizes.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import type { BenchRow } from "../../bench/harness.ts";
import { appendRows } from "../../bench/rows_file.ts";
import { activationSparsity } from "./activation_sparsity.ts";
import { belowFloor } from "./below_floor.ts";
import { askTask, type Scored } from "./ask_task.ts";
import { bitsPerByte } from "./bits_per_byte.ts";
import { cleanBook } from "./clean_book.ts";
import { families } from "./families.ts";
import { Haystack } from "./haystack.ts";
import { heatMap, lengthName } from "./heat_map.ts";

const flags = [
  {
    name: "data",
    kind: "text",
    value: "DIR",
    help: "Folder with text/2701-0.txt and text/wikitext2_test.txt",
  },
  {
    name: "model",
    kind: "text",
    value: "FILE",
    help: "GGUF file (default models/sparrow-tiny.gguf)",
  },
  { name: "quick", kind: "switch", help: "1k and 4k, few contexts, the start of the texts" },
  {
    name: "lengths",
    kind: "text",
    value: "LIST",
    help: "Context lengths in tokens (default 1024,4096,16384)",
  },
  { name: "tasks", kind: "text", value: "LIST", help: "Task families (default all)" },
  {
    name: "contexts",
    kind: "number",
    value: "N",
    help: "Contexts of each task at each length (default 8)",
  },
  {
    name: "questions",
    kind: "number",
    value: "N",
    help: "Questions about each context (default 4)",
  },
  {
    name: "held-out-wording",
    kind: "switch",
    help: "Ask in wordings that training never saw; rows end in _held_out_wording",
  },
  { name: "decode", kind: "text", value: "KIND", help: "auto (default), dense or retrieval" },
  { name: "seed", kind: "number", value: "N", help: "Default 1" },
  {
    name: "activations",
    kind: "text",
    value: "TYPE",
    help: "For bits per byte: f32 or int8 (default by the GPU)",
  },
  { name: "no-text", kind: "switch", help: "Skip bits per byte and sparsity" },
  { name: "json", kind: "text", value: "FILE", help: "Append rows to this JSON array" },
  { name: "svg", kind: "text", value: "FILE", help: "Write the single needle's heat map" },
  {
    name: "check",
    kind: "switch",
    help: "Exit with 1 when a score is below what the model card promises",
  },
  { name: "show", kind: "switch", help: "Print every answer that is not fully right" },
] as const satisfies readonly Flag[];

/** The public-domain book that no training run reads. */
const HELD_OUT_BOOK = "2701-0.txt";

async function main(args: string[]): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.help || given.data === undefined) {
    console.log("Usage: deno task eval:lm --data DIR [FLAGS]\n");
    for (const flag of flags) console.log(`  --${flag.name.padEnd(18)} ${flag.help}`);
    return given.help ? 0 : 2;
  }
  const activations = runnerSizes({ activations: given.activations })?.activations;
  const path = given.model ?? "models/sparrow-tiny.gguf";
  const read = (name: string) => Deno.readTextFile(join(given.data ?? "", "text", name));
  const book = cleanBook(await read(HELD_OUT_BOOK));
  const date = new Date().toISOString();
  const rows: BenchRow[] = [];
  let device = "";
  const add = (name: string, metric: string, value: number, unit: string) => {
    rows.push({
      bench: "lm",
      case: name,
      metric,
      value,
      unit,
      baseline: null,
      ratio: null,
      device,
      date,
    });
    console.log(`lm/${name}/${metric}: ${value.toFixed(4)} ${unit}`);
  };

  const scored = await scoreTasks(path, book, given, (text) => device = text);
  // The same names as the trainer's scores have.
  const suffix = given["held-out-wording"] ? "_held_out_wording" : "";
  for (
    const [key, answers] of Map.groupBy(scored, (one) => `${one.task}_${lengthName(one.length)}`)
  ) {
    add(key + suffix, "accuracy", mean(answers), `share of ${answers.length}`);
  }
  if (!given["no-text"]) {
    const most = given.quick ? 6144 : undefined;
    const wiki = await read("wikitext2_test.txt");
    const texts = { wikitext2_test: wiki, held_out_book: book.slice(0, 600_000) };
    const scores = await bitsPerByte(path, texts, {
      window: 4096,
      stride: 2048,
      most,
      activations,
    });
    for (const [name, score] of Object.entries(scores)) {
      add(name, "bits_per_byte", score.bitsPerByte, `bits of ${score.bytes} bytes`);
    }
    activationSparsity(path, wiki, given.quick ? 256 : 1024).forEach((share, layer) =>
      add(`ffn_L${layer}`, "activation_sparsity", share, "share")
    );
  }
  if (given.json !== undefined) await appendRows(given.json, rows);
  const failures = given.check ? belowFloor(rows) : [];
  for (const failure of failures) console.error(failure);
  if (given.svg !== undefined) {
    const cells = scored.flatMap(({ task, length, depth, score }) =>
      task === "single_needle" && depth !== undefined ? [{ length, depth, score }] : []
    );
    await Deno.writeTextFile(given.svg, heatMap("Single needle: depth by context length", cells));
  }
  return failures.length > 0 ? 1 : 0;
}

type Given = ReturnType<typeof parseFlags<typeof flags>>;

async function scoreTasks(
  path: string,
  book: string,
  given: Given,
  onDevice: (device: string) => void,
): Promise<Scored[]> {
  const haystack = new Haystack(book, tokenCounter(path));
  const lengths = (given.lengths ?? (given.quick ? "1024,4096" : "1024,4096,16384")).split(",").map(
    Number,
  );
  const tasks = given.tasks?.split(",") ?? Object.keys(families);
  const contexts = given.contexts ?? (given.quick ? 2 : 8);
  await using engine = await TextEngine.open({ model: path });
  onDevice(engine.info.device);
  const table: string[] = [];
  const all: Scored[] = [];
  for (const length of lengths) {
    if (length > engine.info.contextLength) {
      console.error(
        `${lengthName(length)} left out: the engine holds ${engine.info.contextLength} tokens here`,
      );
      continue;
    }
    for (const task of tasks) {
      const began = performance.now();
      const answers = await askTask({
        engine,
        haystack,
        task,
        length,
        contexts,
        questions: given.questions ?? 4,
        wording: given["held-out-wording"] ? "held_out" : "seen",
        decode: decodePolicy(given.decode),
        seed: given.seed ?? 1,
      });
      all.push(...answers);
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      console.error(
        `${task} ${lengthName(length)}: ${
          mean(answers).toFixed(3)
        } of ${answers.length} (${seconds} s)`,
      );
      if (given.show) {
        for (const one of answers) {
          if (one.score < 1) {
            console.error(`  ${one.question} | ${one.values.join(", ")} | ${one.answer}`);
          }
        }
      }
    }
  }
  const done = [...new Set(all.map((one) => one.length))];
  table.push(`${"".padEnd(20)}${done.map((length) => lengthName(length).padStart(8)).join("")}`);
  for (const task of tasks) {
    const cells = done.map((length) =>
      mean(all.filter((one) => one.task === task && one.length === length)).toFixed(3).padStart(8)
    );
    table.push(`${task.padEnd(20)}${cells.join("")}`);
  }
  console.log(`\n${table.join("\n")}\n`);
  return all;
}

function tokenCounter(path: string): (text: string) => number {
  using file = GgufFile.open(path);
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  return (text) => tokenizer.encode(text).length;
}

function decodePolicy(
  kind: string | undefined,
): { kind: "auto" | "dense" | "retrieval" } | undefined {
  if (kind === undefined) return undefined;
  if (kind === "auto" || kind === "dense" || kind === "retrieval") return { kind };
  throw new TypeError(`--decode ${kind}: expected auto, dense or retrieval`);
}

function mean(answers: readonly Scored[]): number {
  return answers.reduce((sum, one) => sum + one.score, 0) / answers.length;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
