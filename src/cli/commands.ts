import type { CommandEntry } from "./command.ts";

/** Every command: one line here and one file. */
export const commands: readonly CommandEntry[] = [
  {
    name: "serve",
    summary: "Serve models over HTTP",
    load: async () => (await import("./serve_command.ts")).serveCommand,
  },
  {
    name: "run",
    summary: "Generate text in the terminal",
    load: async () => (await import("./run_command.ts")).runCommand,
  },
  {
    name: "upscale",
    summary: "Enlarge an image",
    load: async () => (await import("./upscale_command.ts")).upscaleCommand,
  },
  {
    name: "video",
    summary: "Enlarge a video",
    load: async () => (await import("./video_command.ts")).videoCommand,
  },
  {
    name: "inspect",
    summary: "Show what is in a model file",
    load: async () => (await import("./inspect_command.ts")).inspectCommand,
  },
  {
    name: "bench",
    summary: "Measure, and compare",
    load: async () => (await import("./bench_command.ts")).benchCommand,
  },
];
