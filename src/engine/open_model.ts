import { basename, extname } from "@std/path";
import { canConstrain } from "../constraint/can_constrain.ts";
import { GgufFile } from "../formats/gguf.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { OpenedModel } from "./opened_model.ts";
import { GpuStepRunner, type RunnerOptions } from "./runner.ts";

/** A model file and how to run it; plain data, so that it can be sent to a host. */
export interface ModelOptions extends Omit<RunnerOptions, "onProgress"> {
  /** Path of a GGUF file. */
  path: string;
}

/** The name under which the model at `path` is served: the stem of its file. */
export function modelId(path: string): string {
  return basename(path, extname(path));
}

/**
 * Opens the default GPU and loads a model and its tokenizer.
 * Kernels that steps can do without are left to the runner's `prepare` unless `prepareLater` is false.
 * @throws `ModelFormatError` for a bad file, `OutOfMemoryError` when it does not fit, `Deno.errors.NotFound` when absent.
 */
export async function openModel(options: ModelOptions): Promise<OpenedModel> {
  const { path, ...runnerOptions } = options;
  using file = GgufFile.open(path);
  const codec = Tokenizer.fromGguf(file.metadata);
  const runner = await GpuStepRunner.load(file, { prepareLater: true, ...runnerOptions });
  const { mtime } = await Deno.stat(path);
  const { architecture, vocabulary, width, pooling } = runner.config;
  let parameters = 0;
  for (const tensor of file.tensors.values()) parameters += tensor.elements;
  return {
    info: {
      id: modelId(path),
      architecture,
      contextLength: runner.contextLength,
      vocabularySize: vocabulary,
      embeddingWidth: pooling === "rank" ? undefined : width,
      parameters,
      created: Math.floor((mtime?.getTime() ?? 0) / 1000),
      hasChatTemplate: codec.hasChatTemplate,
      chatTemplate: codec.chatTemplate || undefined,
      canConstrain: canConstrain(),
      bosToken: textOf(codec, codec.bosId),
      eosToken: textOf(codec, codec.eosId),
      device: runner.device,
    },
    codec,
    runner,
  };
}

function textOf(codec: Tokenizer, id: number | undefined): string | undefined {
  return id === undefined ? undefined : codec.describe(id).token;
}
