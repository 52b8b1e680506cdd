import { ConstraintCompiler } from "../../src/constraint/constraint_compiler.ts";

/** Runs `use` with a compiler for a vocabulary of these `words`, the last of which ends texts, and closes it. */
export async function withCompiler(
  words: readonly Uint8Array[],
  use: (compiler: ConstraintCompiler) => Promise<void>,
): Promise<void> {
  const spellings = { size: words.length, bytes: (id: number) => words[id] };
  const compiler = new ConstraintCompiler(spellings, [words.length - 1]);
  try {
    await use(compiler);
  } finally {
    await compiler.close();
  }
}
