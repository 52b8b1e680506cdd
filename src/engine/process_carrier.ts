import { runtimeDirectory, webgpuBackend } from "../common/env.ts";
import { log } from "../common/log.ts";
import type { Carrier } from "./carrier.ts";
import { encodeFrame, FrameDecoder } from "./frames.ts";
import type { FromHost, ToHost } from "./host_messages.ts";

/**
 * What a host process may do: read the model, load the native library, use the GPU, and tell the machine's memory.
 * No network and no writing, whatever a model file makes of the code.
 */
const permissions = ["--allow-read", "--allow-env", "--allow-ffi", "--allow-sys"];

/** What a host's graphics libraries are told where the environment says nothing. */
function graphicsEnvironment(): Record<string, string> {
  if (Deno.build.os !== "linux") return {};
  return {
    // Without it Deno also initialises OpenGL, which complains on a machine without a display.
    DENO_WEBGPU_BACKEND: webgpuBackend() ?? "vulkan",
    XDG_RUNTIME_DIR: runtimeDirectory() ?? "/tmp",
  };
}

/** A host in a child process: a driver fault or an abort ends the child, and nothing else. */
export class ProcessCarrier implements Carrier {
  readonly gone: Promise<string>;
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  /** Frames of this turn, not yet written. */
  #frames: Uint8Array<ArrayBuffer>[] = [];

  constructor(onMessage: (message: FromHost) => void) {
    const entry = import.meta.resolve("./host_main.ts");
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", ...permissions, entry],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      env: graphicsEnvironment(),
    }).spawn();
    this.pid = this.#child.pid;
    this.#input = this.#child.stdin.getWriter();
    this.gone = this.#read(onMessage);
  }

  /**
   * What is sent in one turn goes in one write. The host steps as soon as it has work: it would begin the first of
   * several requests alone, and its rows would stay a step ahead of the others' to the end.
   */
  send(message: ToHost): void {
    if (this.#frames.length === 0) queueMicrotask(() => this.#write());
    this.#frames.push(encodeFrame(message));
  }

  #write(): void {
    const frames = this.#frames;
    this.#frames = [];
    // What it fails with tells of a host that is going: `gone` says why.
    this.#input.write(concat(frames)).catch(() => {});
  }

  kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      // It ended by itself in this moment.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  async #read(onMessage: (message: FromHost) => void): Promise<string> {
    const frames = new FrameDecoder();
    try {
      for await (const chunk of this.#child.stdout) {
        for (const value of frames.push(chunk)) onMessage(value as FromHost);
      }
    } catch (error) {
      log("error", `host ${this.pid} sent what is no frame`, { error: String(error) });
      this.kill();
    }
    const status = await this.#child.status;
    await this.#input.abort("the host is gone");
    return status.signal ? `signal ${status.signal}` : `exit code ${status.code}`;
  }
}

function concat(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  if (frames.length === 1) return frames[0];
  const all = new Uint8Array(frames.reduce((sum, frame) => sum + frame.length, 0));
  let at = 0;
  for (const frame of frames) {
    all.set(frame, at);
    at += frame.length;
  }
  return all;
}
