import { asError } from "../common/as_error.ts";
import { pythonCommand, pythonPlace } from "../graph/python_command.ts";

/** Milliseconds that it may take to say what it is: 40 when idle. */
const START_MS = 10_000;

/** Throws `TypeError` that names `python` unless it can be run as clients' functions are, and is CPython. */
export async function checkPython(python = "python3"): Promise<void> {
  const wrong = (met: string) =>
    new TypeError(`python: ${python}: ${met}; expected an interpreter of CPython`);
  const [program, ...args] = await pythonCommand(python);
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, {
      ...pythonPlace,
      args: [...args, "-I", "-S", "-c", "import sys; print(sys.implementation.name)"],
      stdin: "null",
      signal: AbortSignal.timeout(START_MS),
    }).output();
  } catch (error) {
    throw wrong(asError(error).message);
  }
  const [said, complaint] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes).trim().split("\n").at(-1)!.slice(0, 200)
  );
  if (output.success && said === "cpython") return;
  const end = output.signal ?? `exit code ${output.code}`;
  throw wrong(output.success ? `says "${said}"` : complaint || end);
}
