import { basename } from "@std/path";
import { apiKeysFromEnvironment } from "../common/env.ts";
import { logWithoutWaiting } from "../common/log.ts";
import { withoutWaiting } from "../common/without_waiting.ts";
import { checkPython } from "../server/check_python.ts";
import { resolveAppOptions } from "../server/options.ts";
import { serve, type ServeOptions } from "../server/serve.ts";
import { checkBind } from "../server/start_server.ts";
import type { Command, CommandContext } from "./command.ts";
import { type Flag, parseFlags } from "./flags.ts";
import { loadedModels } from "./loaded_models.ts";
import { modelFiles } from "./model_files.ts";
import { numberBetween } from "./number_between.ts";
import { Reporter, type ReportTarget } from "./reporter.ts";
import { runnerSizes, sizeFlags } from "./runner_sizes.ts";
import { systemTerminal, type Terminal } from "./terminal.ts";
import { UsageError } from "./usage_error.ts";
import { wholeNumber } from "./whole_number.ts";

const flags = [
  { name: "model", kind: "texts", value: "FILE", help: "GGUF file to serve; repeat for several" },
  { name: "models", kind: "text", value: "DIR", help: "Serve every .gguf file of a folder" },
  ...sizeFlags,
  {
    name: "max-sequences",
    kind: "number",
    value: "N",
    help: "Sequences of a model that run side by side (64 on a GPU, 32 without)",
  },
  {
    name: "batch-tokens",
    kind: "number",
    value: "N",
    help: "Most tokens of a step: more read prompts faster and delay streams (512)",
  },
  {
    name: "retrieval-graph",
    kind: "switch",
    help: "Index long contexts for a fixed k too: faster answers to it, slower builds",
  },
  { name: "host", kind: "text", value: "ADDRESS", help: "Address to bind (127.0.0.1)" },
  { name: "port", short: "p", kind: "number", value: "N", help: "Port, 0 for a free one (8080)" },
  {
    name: "api-key",
    kind: "texts",
    value: "KEY",
    help: "Ask clients for this key; repeat for several (or SPARROW_API_KEY, with spaces between)",
  },
  { name: "insecure", kind: "switch", help: "Allow other machines in without a key" },
  { name: "share-prefixes", kind: "switch", help: "Share cached prefixes between keys" },
  {
    name: "allow-host",
    kind: "texts",
    value: "NAME",
    help: "Also answer requests addressed to this host name",
  },
  {
    name: "cors",
    kind: "texts",
    value: "ORIGIN",
    help: "Let pages of this origin call, * for all",
  },
  { name: "max-queue", kind: "number", value: "N", help: "Requests that may wait per model (256)" },
  { name: "max-body-mb", kind: "number", value: "N", help: "Largest request body in MiB (32)" },
  {
    name: "max-videos",
    kind: "number",
    value: "N",
    help: "Videos enlarged at a time, streamed and live (16)",
  },
  { name: "drain", kind: "number", value: "SECONDS", help: "Time to end work when stopped (25)" },
  {
    name: "parrot-port",
    kind: "number",
    value: "N",
    help: "Loopback port for Parrot's Python client, 0 for none (9000)",
  },
  { name: "store", kind: "text", value: "FILE", help: "Keep application sessions in this file" },
  { name: "allow-native-calls", kind: "switch", help: "Run clients' Python functions, sandboxed" },
  { name: "python", kind: "text", value: "FILE", help: "Interpreter for them (python3)" },
  { name: "no-install", kind: "switch", help: "For set-up: install no system packages" },
] as const satisfies readonly Flag[];

/** `sparrow serve`: the HTTP server. */
export const serveCommand: Command = {
  usage: "[--model FILE | --models DIR] [FLAGS]",
  about:
    "Serves language models over HTTP: OpenAI's API, pages at /, /apps and /video, API documentation at /docs.",
  flags,
  examples: [
    "sparrow serve --port 0",
    "sparrow serve --model llama-3.1-8b-q4_k_m.gguf --context 32768 --kv-memory 4",
    "sparrow serve --models ~/models --host 0.0.0.0 --api-key $(openssl rand -hex 16)",
  ],
  run,
};

async function run(args: string[], context: CommandContext): Promise<number> {
  const given = parseFlags(flags, args);
  refuseWords(given.rest);
  // Where it listens is what this command results in.
  const report = new Reporter(whileWritable(withoutReader(context.terminal)));
  const models = await modelFiles(given.model, given.models);
  const apiKeys = given["api-key"].length > 0 ? given["api-key"] : apiKeysFromEnvironment();
  const options: ServeOptions = {
    host: given.host,
    port: wholeNumber("port", given.port, 0, 65535),
    apiKeys,
    insecure: given.insecure,
    sharePrefixes: given["share-prefixes"],
    allowedHosts: given["allow-host"],
    corsOrigins: given.cors,
    maxBodyBytes: scaled(numberBetween("max-body-mb", given["max-body-mb"], 0.001), 1024 * 1024),
    maxVideos: wholeNumber("max-videos", given["max-videos"], 1),
    drainMs: scaled(numberBetween("drain", given.drain, 0), 1000),
    parrotPort: wholeNumber("parrot-port", given["parrot-port"], 0, 65535) ??
      defaultParrotPort(report),
    store: given.store,
    allowNativeCalls: given["allow-native-calls"],
    python: given.python,
  };
  const sizes = runnerSizes(given);
  const maxQueue = wholeNumber("max-queue", given["max-queue"], 1);
  try {
    checkBind(options);
    resolveAppOptions(options);
    // Before models are loaded.
    if (options.allowNativeCalls) await checkPython(options.python);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const start = performance.now();
  const pool = await context.openPool({ models, maxQueue, ...(sizes && { sizes }) });
  try {
    await using server = await serve({ ...options, pool });
    report.event("listening", `Listening on ${server.url} (page at /, API at /v1, docs at /docs)`, {
      url: server.url,
      port: server.port,
      listeners: server.listeners,
      key: apiKeys.length > 0,
    });
    for (const address of server.listeners) {
      report.event("also", `Also listening on ${address} (for Parrot clients)`, { address });
    }
    const names = models.map((file) => basename(file, ".gguf"));
    report.event("loading", `Loading ${names.join(", ")}`, { models: names });

    const stopped = new Promise<"stopped">((resolve) =>
      context.signal.addEventListener("abort", () => resolve("stopped"))
    );
    const loaded = await Promise.race([loadedModels(pool), stopped]);
    if (loaded !== "stopped") {
      const ms = Math.round(performance.now() - start);
      const text = loaded.map((model) => `${model.id} on ${model.device}`).join(", ");
      report.event("ready", `Ready in ${(ms / 1000).toFixed(1)} s: ${text}`, {
        ms,
        models: loaded.map(({ id, device, contextLength }) => ({ id, device, contextLength })),
      });
      await stopped;
    }
    report.event("stopping", "Stopping: waiting for running requests (again to stop at once)");
    await server.shutdown();
    report.event("stopped", "Stopped");
    return 0;
  } finally {
    await pool[Symbol.asyncDispose]();
  }
}

/** Standard output, and the log, such that nobody who has them in a pipe and reads too little of it holds up the server. */
function withoutReader(terminal: Terminal): ReportTarget {
  if (terminal !== systemTerminal) return terminal.out;
  logWithoutWaiting();
  const write = withoutWaiting(1);
  return write ? { isInteractive: false, write } : terminal.out;
}

/** A server outlives who reads what it says, such as a script that wanted to know its port, and room on the disk for it. */
function whileWritable(target: ReportTarget): ReportTarget {
  return {
    isInteractive: target.isInteractive,
    write: (text) => {
      try {
        target.write(text);
      } catch {
        // Its requests are answered all the same, and end in its time to drain.
      }
    },
  };
}

/** The port that Parrot's client calls by default; none, with a word about it, when something else has it. */
function defaultParrotPort(report: Reporter): number {
  const port = 9000;
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return port;
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    report.event(
      "warning",
      `Port ${port} is taken, so Parrot's client is not served; --parrot-port N chooses another`,
      { port },
    );
    return 0;
  }
}

function refuseWords(words: readonly string[]): void {
  if (words.length > 0) {
    throw new UsageError(`unexpected "${words[0]}"; a model is named by --model`);
  }
}

function scaled(value: number | undefined, by: number): number | undefined {
  return value === undefined ? undefined : value * by;
}
