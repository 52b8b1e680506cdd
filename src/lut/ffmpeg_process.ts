/**
 * Starts ffmpeg or ffprobe with its output and its complaints piped.
 * @throws {Error} when it is not installed.
 */
export function startFfmpeg(
  name: "ffmpeg" | "ffprobe",
  args: string[],
  stdin: "null" | "piped" = "null",
): Deno.ChildProcess {
  const command = new Deno.Command(name, {
    args,
    stdin,
    stdout: "piped",
    stderr: "piped",
    // Ctrl-C reaches a terminal's whole process group: ffmpeg would end before the frames that it still has to be given.
    detached: Deno.build.os !== "windows",
  });
  try {
    return command.spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`${name} is not installed, which all video files but .y4m need`, {
      cause: error,
    });
  }
}

/** Kills `child` if it still runs. */
export function killProcess(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error; // already ended
  }
}

/** `path` as ffmpeg takes it for a file: a dash in front would be a flag, a word before a colon a protocol. */
export function ffmpegPath(path: string): string {
  return /^-|:/.test(path) && !path.includes("://") ? `file:${path}` : path;
}

/**
 * ffmpeg's first complaint, which names the cause; those after it are consequences. Addresses of its contexts are left out.
 */
export function firstComplaint(text: string): string {
  const lines = text.split("\n").map((line) => line.replace(/ @ 0x[0-9a-f]+\]/g, "]").trim());
  return lines.find((line) => line !== "") ?? "ffmpeg failed without a word";
}
