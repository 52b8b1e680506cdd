/**
 * Runs a program showing its output as it comes, and returns that output too (both streams, in the order of arrival,
 * without terminal colours).
 */
export async function runAndWatch(
  program: string,
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<{ code: number; output: string }> {
  const child = new Deno.Command(program, {
    args,
    ...options,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  const watch = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      Deno.stderr.writeSync(chunk);
      output += decoder.decode(chunk, { stream: true });
    }
  };
  const [{ code }] = await Promise.all([child.status, watch(child.stdout), watch(child.stderr)]);
  // deno-lint-ignore no-control-regex -- the escape character is what is looked for
  return { code, output: output.replace(/\x1b\[[0-9;]*m/g, "") };
}
