import { basename, fromFileUrl, join } from "@std/path";
import { UsageError } from "./usage_error.ts";

/** The models that come with the repository, the preferred one first. */
const embedded = ["sparrow-tiny.gguf", "sparrow-mini.gguf"];

/**
 * The model files that `--model FILE` and `--models DIR` name, or the embedded one when neither is given; the first
 * is the default. Throws `UsageError` when there is none, or two share a stem.
 */
export async function modelFiles(
  files: readonly string[],
  folder: string | undefined,
): Promise<string[]> {
  const found = [...files];
  for (const file of files) {
    if (await isFile(file)) continue;
    const folder = await isFolder(file);
    throw new UsageError(
      `--model ${file}: ${folder ? "is a folder, expected a file" : "no such file"}`,
    );
  }
  if (folder !== undefined) {
    const inside = await ggufFilesIn(folder);
    if (inside.length === 0) throw new UsageError(`--models ${folder}: holds no .gguf file`);
    found.push(...inside.filter((file) => !found.includes(file)));
  }
  if (found.length === 0) found.push(await embeddedModel());
  const stems = found.map((file) => basename(file, ".gguf"));
  const twice = stems.find((stem, i) => stems.indexOf(stem) !== i);
  if (twice !== undefined) {
    throw new UsageError(
      `two model files are called "${twice}"; requests could not tell them apart`,
    );
  }
  return found;
}

async function embeddedModel(): Promise<string> {
  const folder = new URL("../../models/", import.meta.url);
  if (folder.protocol === "file:") {
    for (const name of embedded) {
      const file = join(fromFileUrl(folder), name);
      if (await isFile(file)) return file;
    }
  }
  throw new UsageError("no embedded model here; name one with --model FILE");
}

async function ggufFilesIn(folder: string): Promise<string[]> {
  try {
    const names = await Array.fromAsync(Deno.readDir(folder), (entry) => entry.name);
    return names.filter((name) => name.endsWith(".gguf")).sort().map((name) => join(folder, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) {
      throw new UsageError(`--models ${folder}: is a file, expected a folder`);
    }
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new UsageError(`--models ${folder}: no such folder`);
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await infoOf(path))?.isFile === true;
}

async function isFolder(path: string): Promise<boolean> {
  return (await infoOf(path))?.isDirectory === true;
}

async function infoOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
