/**
 * Runs a program showing its output line by line, so that of several at once each line stays whole, and returns that output
 * too (both streams, in the order of arrival, without terminal colours).
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
  const show = (text: string) => Deno.stderr.writeSync(new TextEncoder().encode(text));
  const watch = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> => {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output += text;
      const lines = (rest + text).split(/(?<=\n)/);
      rest = lines.at(-1)?.endsWith("\n") ? "" : lines.pop() ?? "";
      if (lines.length > 0) show(lines.join(""));
    }
    if (rest !== "") show(`${rest}\n`);
  };
  const [{ code }] = await Promise.all([child.status, watch(child.stdout), watch(child.stderr)]);
  // deno-lint-ignore no-control-regex -- the escape character is what is looked for
  return { code, output: output.replace(/\x1b\[[0-9;]*m/g, "") };
}
