/** Whether ffmpeg is installed; says that video files are skipped where it is not. */
export async function hasFfmpeg(): Promise<boolean> {
  try {
    return (await new Deno.Command("ffmpeg", { args: ["-version"], stdout: "null" }).output())
      .success;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("skipped: video files (no ffmpeg on PATH)");
    return false;
  }
}
