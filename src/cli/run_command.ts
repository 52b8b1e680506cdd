import type { TextConstraint } from "../constraint/text_constraint.ts";
import { greedy } from "../engine/sampling_defaults.ts";
import type {
  ChatMessage,
  EnginePool,
  GenerateRequest,
  ModelInfo,
  Prompt,
} from "../engine/types.ts";
import { blamesRequest } from "../server/error_map.ts";
import type { Command, CommandContext } from "./command.ts";
import { type Flag, type FlagValues, parseFlags } from "./flags.ts";
import { loadedModels } from "./loaded_models.ts";
import { modelFiles } from "./model_files.ts";
import { numberBetween } from "./number_between.ts";
import { runnerSizes, sizeFlags } from "./runner_sizes.ts";
import { readConstraint } from "./read_constraint.ts";
import { readLines } from "./read_lines.ts";
import { UsageError } from "./usage_error.ts";
import { wholeNumber } from "./whole_number.ts";

const flags = [
  { name: "model", kind: "texts", value: "FILE", help: "GGUF file (the embedded model)" },
  ...sizeFlags,
  { name: "system", kind: "text", value: "TEXT", help: "System prompt of a chat" },
  { name: "raw", kind: "switch", help: "Continue the text as it is, without the chat template" },
  {
    name: "max-tokens",
    short: "n",
    kind: "number",
    value: "N",
    help: "At most this many tokens (to the end of the context)",
  },
  { name: "temperature", short: "t", kind: "number", value: "T", help: "0 is greedy (0.8)" },
  { name: "top-k", kind: "number", value: "K", help: "Keep the K likeliest tokens, 0 all (40)" },
  {
    name: "top-p",
    kind: "number",
    value: "P",
    help: "Keep the likeliest up to this probability (0.95)",
  },
  {
    name: "min-p",
    kind: "number",
    value: "P",
    help: "Drop tokens below this share of the likeliest one's probability (0)",
  },
  {
    name: "presence-penalty",
    kind: "number",
    value: "X",
    help: "Taken from the logit of tokens generated before (0)",
  },
  {
    name: "frequency-penalty",
    kind: "number",
    value: "X",
    help: "The same, as often as they were generated (0)",
  },
  { name: "seed", kind: "number", value: "N", help: "Same seed, same text (random)" },
  { name: "schema", kind: "text", value: "FILE", help: "The text is JSON of this JSON schema" },
  {
    name: "regex",
    kind: "text",
    value: "PATTERN",
    help: "The text matches this as a whole, in Rust's syntax",
  },
  { name: "stop", kind: "texts", value: "TEXT", help: "End before this text; repeat for several" },
] as const satisfies readonly Flag[];

type RunFlags = FlagValues<typeof flags> & { constraint?: TextConstraint };

/** `sparrow run`: text on standard output, figures on standard error. */
export const runCommand: Command = {
  usage: "[PROMPT...] [FLAGS]",
  about:
    "Generates text: from the prompt, from standard input, or in a conversation when neither is given.",
  flags,
  examples: [
    'sparrow run "Once upon a time" --raw --max-tokens 100',
    "sparrow run --model model.gguf --seed 7 < prompt.txt",
    'sparrow run --schema person.schema.json "Who are you?"',
    "sparrow run",
  ],
  run,
};

async function run(args: string[], context: CommandContext): Promise<number> {
  const flagged = parseFlags(flags, args);
  const given: RunFlags = { ...flagged, constraint: await readConstraint(flagged) };
  if (given.model.length > 1) throw new UsageError("run takes one --model");
  checkGeneration(given);
  const models = await modelFiles(given.model, undefined);
  const sizes = runnerSizes(flagged);
  await using pool = await context.openPool({ models, ...(sizes && { sizes }) });
  const [info] = await loadedModels(pool);
  const words = given.rest.join(" ");
  if (words !== "") return await answerOnce(words, given, info, pool, context);
  if (!Deno.stdin.isTerminal()) {
    const text = await new Response(Deno.stdin.readable).text();
    if (text.trim() === "") throw new UsageError("no prompt: standard input is empty");
    return await answerOnce(text, given, info, pool, context);
  }
  return await converse(given, info, pool, context);
}

/** Throws `UsageError` for flags that no model takes, before one is loaded. */
function checkGeneration(given: RunFlags): void {
  wholeNumber("max-tokens", given["max-tokens"], 0);
  numberBetween("temperature", given.temperature, 0);
  wholeNumber("top-k", given["top-k"], 0);
  numberBetween("top-p", given["top-p"], 0, 1);
  numberBetween("min-p", given["min-p"], 0, 1);
  if (given.seed !== undefined && !Number.isSafeInteger(given.seed)) {
    throw new UsageError(`--seed: expected a whole number, got ${given.seed}`);
  }
}

async function answerOnce(
  text: string,
  given: RunFlags,
  info: ModelInfo,
  pool: EnginePool,
  context: CommandContext,
): Promise<number> {
  const turns = given.system === undefined ? [] : [{ role: "system", content: given.system }];
  const prompt = toPrompt(text, turns, given, info);
  await generate(toRequest(prompt, given), pool, context);
  return context.signal.aborted ? 130 : 0;
}

/** A conversation: a line is a turn; an empty line, or the end of input, ends it. */
async function converse(
  given: RunFlags,
  info: ModelInfo,
  pool: EnginePool,
  context: CommandContext,
): Promise<number> {
  const { terminal, signal } = context;
  const turns: ChatMessage[] = given.system === undefined
    ? []
    : [{ role: "system", content: given.system }];
  terminal.err.write(`${info.id} on ${info.device}; an empty line ends\n> `);
  for await (const line of readLines(Deno.stdin.readable, signal)) {
    if (line.trim() === "" || signal.aborted) break;
    const answer = await generate(
      toRequest(toPrompt(line, turns, given, info), given),
      pool,
      context,
    );
    turns.push({ role: "user", content: line }, { role: "assistant", content: answer });
    terminal.err.write("> ");
  }
  return signal.aborted ? 130 : 0;
}

function toPrompt(text: string, turns: ChatMessage[], given: RunFlags, info: ModelInfo): Prompt {
  return info.hasChatTemplate && !given.raw
    ? { type: "chat", messages: [...turns, { role: "user", content: text }] }
    : { type: "parts", parts: [{ type: "text", text, special: true }] };
}

function toRequest(prompt: Prompt, given: RunFlags): GenerateRequest {
  const seed = given.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
  return {
    id: crypto.randomUUID(),
    progress: true,
    prompt,
    maxTokens: given["max-tokens"],
    stop: given.stop,
    constraint: given.constraint,
    sampling: {
      ...greedy,
      temperature: given.temperature ?? 0.8,
      topK: given["top-k"] ?? 40,
      topP: given["top-p"] ?? 0.95,
      minP: given["min-p"] ?? 0,
      presencePenalty: given["presence-penalty"],
      frequencyPenalty: given["frequency-penalty"],
      seed: Number(BigInt.asUintN(32, BigInt(seed))),
    },
  };
}

/** Streams one generation to standard output and returns its text; the figures go to standard error. */
async function generate(
  request: GenerateRequest,
  pool: EnginePool,
  { terminal, report, signal }: CommandContext,
): Promise<string> {
  const generation = pool.submit(request);
  const cancel = () => generation.cancel();
  signal.addEventListener("abort", cancel);
  let text = "";
  /** Tokens of a prompt whose progress is shown. */
  let read = 0;
  try {
    for await (const event of generation) {
      if (event.type === "reading") {
        read = event.promptTokens;
        report.progress("reading", event.tokens, read, "tokens");
      } else if (event.type === "delta") {
        if (read > 0) report.progress("reading", read, read, "tokens");
        read = 0;
        terminal.out.write(event.text);
        text += event.text;
      } else if (event.type === "finished") {
        if (!text.endsWith("\n")) terminal.out.write("\n");
        const { completionTokens, decodeMs, ttftMs, promptTokens, cachedTokens } = event.usage;
        const rate = completionTokens > 1 && decodeMs > 0
          ? (completionTokens - 1) / decodeMs * 1000
          : undefined;
        report.event(
          "finished",
          [
            `[${completionTokens} tokens`,
            ...(rate === undefined ? [] : [`${rate.toFixed(1)} tokens/s`]),
            `first token after ${ttftMs.toFixed(1)} ms`,
            `prompt ${promptTokens} tokens]`,
          ].join(", "),
          {
            reason: event.reason,
            tokens: completionTokens,
            tokensPerSecond: rate ?? null,
            ttftMs,
            promptTokens,
            cachedTokens,
          },
        );
      }
    }
  } catch (error) {
    // An over-long prompt, for example.
    throw blamesRequest(error) ? new UsageError((error as Error).message) : error;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  return text;
}
