/** What a finished child left. */
export interface ChildResult {
  /** Exit code; 127 when the program does not exist. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program with its output held back, so that it is shown only when it failed. Nothing is sent to its input. */
export async function runQuietly(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<ChildResult> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args,
      ...options,
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return { code: 127, stdout: "", stderr: `${program} was not found` };
    }
    throw error;
  }
}
