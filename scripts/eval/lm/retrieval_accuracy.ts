/**
 * `deno task eval:retrieval --data DIR [--lengths LIST] [--tasks LIST] [--json FILE]`: what answers lose when the context is decoded by
 * retrieval instead of densely. Every question is asked three times, about the same context: by retrieval with the default budget, with
 * the 100 best keys of each head and nothing else, and densely. A context is read once and its index shared.
 * @module
 */

import { join } from "@std/path";
import { type Flag, parseFlags } from "../../../src/cli/flags.ts";
import { TextEngine } from "../../../src/engine/text_engine.ts";
import type { DecodePolicy } from "../../../src/engine/types.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import type { BenchRow } from "../../bench/harness.ts";
import { appendRows } from "../../bench/rows_file.ts";
import { type Answer, askContext } from "./ask_context.ts";
import { cleanBook } from "./clean_book.ts";
import { families } from "./families.ts";
import { Haystack } from "./haystack.ts";
import { lengthName } from "./heat_map.ts";
import { sampleContexts } from "./sample_contexts.ts";

const flags = [
  { name: "data", kind: "text", value: "DIR", help: "Folder with text/2701-0.txt" },
  { name: "model", kind: "text", value: "FILE", help: "Default models/sparrow-tiny.gguf" },
  { name: "lengths", kind: "text", value: "LIST", help: "Tokens (default 4096,8192,16384)" },
  { name: "tasks", kind: "text", value: "LIST", help: "Task families (default all)" },
  { name: "contexts", kind: "number", value: "N", help: "Contexts of each task (default 4)" },
  { name: "questions", kind: "number", value: "N", help: "Questions about each (default 10)" },
  { name: "seconds", kind: "number", value: "N", help: "Start no context after so many seconds" },
  { name: "seed", kind: "number", value: "N", help: "Default 1" },
  { name: "json", kind: "text", value: "FILE", help: "Append rows to this JSON array" },
] as const satisfies readonly Flag[];

/** Retrieval first: the index is then built while the context is read for the first time, from queries of all of it. */
const policies = {
  retrieval: { kind: "retrieval" },
  k100: { kind: "retrieval", k: 100 },
  dense: { kind: "dense" },
} as const satisfies Record<string, DecodePolicy>;

type Asked = Record<keyof typeof policies, Answer[]>;

async function main(args: string[]): Promise<number> {
  const given = parseFlags(flags, args);
  if (given.help || given.data === undefined) {
    console.log("Usage: deno task eval:retrieval --data DIR [FLAGS]\n");
    for (const flag of flags) console.log(`  --${flag.name.padEnd(12)} ${flag.help}`);
    return given.help ? 0 : 2;
  }
  const began = performance.now();
  const model = given.model ?? "models/sparrow-tiny.gguf";
  const lengths = (given.lengths ?? "4096,8192,16384").split(",").map(Number);
  const tasks = given.tasks?.split(",") ?? Object.keys(families);
  const questions = given.questions ?? 10;
  const book = cleanBook(await Deno.readTextFile(join(given.data, "text", "2701-0.txt")));
  const haystack = new Haystack(book, tokenCounter(model));
  await using engine = await TextEngine.open({
    model,
    isolate: "own",
    maxSequences: questions,
    // Each question computes the end of its prompt on pages of its own.
    kvTokens: Math.max(...lengths) + questions * 2048,
    retrieval: { waitForIndex: true },
  });
  const { device } = engine.info;
  for (const length of lengths) {
    for (const task of tasks) {
      const all: Asked = { retrieval: [], k100: [], dense: [] };
      const options = { task, length, questions, contexts: given.contexts ?? 4 };
      const more = { haystack, wording: "seen" as const, seed: given.seed ?? 1 };
      for (const context of sampleContexts({ ...options, ...more })) {
        if (performance.now() - began > (given.seconds ?? Infinity) * 1000) break;
        for (const name of Object.keys(policies) as (keyof typeof policies)[]) {
          all[name].push(...await askContext(engine, context, policies[name]));
        }
      }
      if (all.dense.length === 0) continue;
      const rows = summarise(`${task}_${lengthName(length)}`, all, device);
      const seconds = ((performance.now() - began) / 1000).toFixed(0);
      console.log(`${rows.map(describe).join("  ")}  (${all.dense.length} answers, ${seconds} s)`);
      // At once, so that a run cut short leaves what it measured.
      if (given.json !== undefined) await appendRows(given.json, rows);
    }
  }
  return 0;
}

function summarise(name: string, all: Asked, device: string): BenchRow[] {
  const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  const scores = (answers: Answer[]) => answers.map(({ score }) => score);
  const less = (answers: Answer[]) =>
    100 * mean(answers.map(({ score }, i) => score - all.dense[i].score));
  const same = (answers: Answer[]) =>
    mean(answers.map(({ text }, i) => Number(text === all.dense[i].text)));
  const date = new Date().toISOString();
  const row = (metric: string, value: number, unit: string): BenchRow => {
    const against = { baseline: null, ratio: null, device, date };
    return { bench: "retrieval", case: name, metric, value, unit, ...against };
  };
  return [
    row("accuracy_dense", mean(scores(all.dense)), `share of ${all.dense.length}`),
    row("accuracy_minus_dense", less(all.retrieval), "points"),
    row("accuracy_minus_dense_k100", less(all.k100), "points"),
    row("answers_as_dense", same(all.retrieval), "share"),
    row("answers_as_dense_k100", same(all.k100), "share"),
  ];
}

function describe({ case: name, metric, value }: BenchRow, i: number): string {
  return `${i === 0 ? `${name}/` : ""}${metric} ${value.toFixed(3)}`;
}

function tokenCounter(path: string): (text: string) => number {
  using file = GgufFile.open(path);
  const tokenizer = Tokenizer.fromGguf(file.metadata);
  return (text) => tokenizer.encode(text).length;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
