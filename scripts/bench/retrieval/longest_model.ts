import { modelFiles } from "../../../src/cli/model_files.ts";
import { GgufFile } from "../../../src/formats/gguf.ts";
import { readModelConfig } from "../../../src/model/config.ts";

/** The embedded model with the longest context. */
export async function longestModel(): Promise<string> {
  let longest = { path: "", length: 0 };
  for (const path of await modelFiles([], undefined)) {
    using file = GgufFile.open(path);
    const length = readModelConfig(file).contextLength;
    if (length > longest.length) longest = { path, length };
  }
  return longest.path;
}
