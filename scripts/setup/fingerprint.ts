/**
 * Fingerprints of what a set-up step depends on, kept in `.cache/setup/`, so that a step whose inputs did not change
 * costs milliseconds.
 * @module
 */

import { dirname, join } from "@std/path";
import { inProject } from "./project.ts";

/** The fingerprint of a step's inputs when it last succeeded, and what it found. */
export interface Stamp {
  fingerprint: string;
  found: string;
}

function stampFile(step: string): string {
  return inProject(".cache", "setup", `${step}.json`);
}

/** What an earlier run of `step` left; undefined when there is nothing or it cannot be understood. */
export async function readStamp(step: string): Promise<Stamp | undefined> {
  try {
    const value: unknown = JSON.parse(await Deno.readTextFile(stampFile(step)));
    return typeof value === "object" && value !== null ? value as Stamp : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Remembers that `step` succeeded on inputs of this fingerprint. */
export async function writeStamp(step: string, fingerprint: string, found: string): Promise<void> {
  const file = stampFile(step);
  await Deno.mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.${Deno.pid}`;
  await Deno.writeTextFile(temporary, JSON.stringify({ fingerprint, found }));
  await Deno.rename(temporary, file);
}

/** A fingerprint of texts, and of paths, sizes and modification times of everything under the given files and folders. */
export async function fingerprint(
  texts: string[],
  paths: string[],
  skip: string[] = [],
): Promise<string> {
  const lines = [...texts];
  for (const path of paths) await visit(path, new Set(skip), lines);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(lines.join("\n")));
  return [...new Uint8Array(digest, 0, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

async function visit(path: string, skip: Set<string>, lines: string[]): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    lines.push(`${path} absent`);
    return;
  }
  if (!info.isDirectory) {
    lines.push(`${path} ${info.size} ${info.mtime?.getTime()}`);
    return;
  }
  const names: string[] = [];
  for await (const entry of Deno.readDir(path)) names.push(entry.name);
  for (const name of names.sort()) {
    const child = join(path, name);
    if (!skip.has(child)) await visit(child, skip, lines);
  }
}
