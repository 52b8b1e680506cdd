import { fromFileUrl } from "@std/path";

/** How busy a server says it is. */
export interface IdleState {
  pagesUsed: number;
  running: number;
  waiting: number;
}

/** `sparrow serve` in a process of its own, on a free loopback port. */
export class ServerProcess implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #output: Promise<void>;

  private constructor(child: Deno.ChildProcess, url: string, output: Promise<void>) {
    this.url = url;
    this.pid = child.pid;
    this.#child = child;
    this.#output = output;
  }

  /** Starts it with the given flags and waits until it is ready. Throws when it ends before. */
  static async start(flags: readonly string[]): Promise<ServerProcess> {
    const entry = fromFileUrl(new URL("../../src/cli/main.ts", import.meta.url));
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", entry, "serve", "--port", "0", "--parrot-port", "0", ...flags],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const ready = Promise.withResolvers<string>();
    const output = readEvents(child.stdout, ready.resolve).then(() =>
      ready.reject(new Error("the server ended before it was ready"))
    );
    const url = await ready.promise;
    return new ServerProcess(child, url, output);
  }

  /** Process ids of its engines' hosts. Linux only. */
  async hosts(): Promise<number[]> {
    // A child belongs to the thread that started it.
    const threads = await Array.fromAsync(
      Deno.readDir(`/proc/${this.pid}/task`),
      (one) => one.name,
    );
    const children = await Promise.all(
      threads.map((thread) => Deno.readTextFile(`/proc/${this.pid}/task/${thread}/children`)),
    );
    return children.join(" ").split(/\s+/).filter(Boolean).map(Number);
  }

  /** Resident bytes of the server, and of its engines' hosts together. Linux only. */
  async memory(): Promise<{ server: number; hosts: number }> {
    const hosts = await Promise.all((await this.hosts()).map(residentBytes));
    return {
      server: await residentBytes(this.pid),
      hosts: hosts.reduce((sum, bytes) => sum + bytes, 0),
    };
  }

  /** Waits up to 10 s until nothing runs, waits or holds pages; resolves to what is left. */
  async whenIdle(): Promise<IdleState> {
    const deadline = performance.now() + 10_000;
    while (true) {
      const state = await this.#state();
      const idle = state.pagesUsed + state.running + state.waiting === 0;
      if (idle || performance.now() > deadline) return state;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
    await this.#output;
  }

  async #state(): Promise<IdleState> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const sum = (name: string) =>
      [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "gm"))]
        .reduce((total, [, value]) => total + Number(value), 0);
    return {
      pagesUsed: sum("sparrow_kv_pages_used"),
      running: sum("sparrow_requests_running"),
      waiting: sum("sparrow_requests_waiting"),
    };
  }
}

/** Follows the server's events; calls `onReady` with its address. */
async function readEvents(
  stdout: ReadableStream<Uint8Array>,
  onReady: (url: string) => void,
): Promise<void> {
  let rest = "";
  let url = "";
  for await (const chunk of stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() as string;
    for (const line of lines) {
      const event = JSON.parse(line);
      url = event.url ?? url;
      if (event.event === "ready") onReady(url);
    }
  }
}

async function residentBytes(pid: number): Promise<number> {
  try {
    const status = await Deno.readTextFile(`/proc/${pid}/status`);
    return Number(status.match(/^VmRSS:\s+(\d+) kB$/m)?.[1] ?? 0) * 1024;
  } catch (error) {
    // A host that was restarted in this moment.
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
