/**
 * A headless Chromium driven through its DevTools protocol, for tests of the pages.
 * @module
 */

/** The Chromium installed here; undefined when there is none. */
export async function findChromium(): Promise<string | undefined> {
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]) {
    try {
      const { success } = await new Deno.Command(name, { args: ["--version"], stderr: "null" })
        .output();
      if (success) return name;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

interface Reply {
  id?: number;
  method?: string;
  // deno-lint-ignore no-explicit-any -- the protocol's results have a shape per method
  result?: any;
  error?: { message: string };
  // deno-lint-ignore no-explicit-any -- as above
  params?: any;
}

/** One page of a browser of its own. */
export class ChromiumPage implements AsyncDisposable {
  /** What the page wrote on its console as errors, and exceptions it did not catch. */
  readonly errors: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #socket: WebSocket;
  readonly #folder: string;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  #session?: string;
  #lastId = 0;

  private constructor(process: Deno.ChildProcess, socket: WebSocket, folder: string) {
    this.#process = process;
    this.#socket = socket;
    this.#folder = folder;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
  }

  /** Starts the browser with an empty profile and an empty page of the given size, and with further `flags`. */
  static async open(
    binary: string,
    options: { width?: number; height?: number; flags?: string[] } = {},
  ): Promise<ChromiumPage> {
    const folder = await Deno.makeTempDir({ prefix: "sparrow-chromium-" });
    const process = new Deno.Command(binary, {
      args: [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        `--user-data-dir=${folder}`,
        ...(options.flags ?? []),
        "about:blank",
      ],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const socket = new WebSocket(await devToolsAddress(process.stderr));
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error("the browser's DevTools socket did not open"));
    });
    const page = new ChromiumPage(process, socket, folder);
    const { targetId } = await page.#call("Target.createTarget", { url: "about:blank" });
    const attached = await page.#call("Target.attachToTarget", { targetId, flatten: true });
    page.#session = attached.sessionId;
    await page.#call("Page.enable");
    await page.#call("Runtime.enable");
    await page.#call("Emulation.setDeviceMetricsOverride", {
      width: options.width ?? 1200,
      height: options.height ?? 800,
      deviceScaleFactor: 1,
      mobile: false,
    });
    return page;
  }

  /** Loads an address. */
  async goto(url: string): Promise<void> {
    const { errorText } = await this.#call("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.waitFor("document.readyState === 'complete'");
  }

  /** The value of a JavaScript expression in the page, awaited. */
  // deno-lint-ignore no-explicit-any -- any JSON value
  async evaluate(expression: string): Promise<any> {
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) {
      throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    }
    return result.value;
  }

  /** Waits until an expression is true in the page; throws after `ms`. */
  async waitFor(expression: string, ms = 10_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!await this.evaluate(`Boolean(${expression})`)) {
      if (performance.now() > deadline) throw new Error(`not so within ${ms} ms: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Types text at the focus, as a person would. */
  async type(text: string): Promise<void> {
    await this.#call("Input.insertText", { text });
  }

  /** Presses a key at the focus: `Enter`, `Escape` or `Tab`. */
  async press(key: "Enter" | "Escape" | "Tab", options: { shift?: boolean } = {}): Promise<void> {
    const code = { Enter: 13, Escape: 27, Tab: 9 }[key];
    const event = {
      key,
      code: key,
      windowsVirtualKeyCode: code,
      modifiers: options.shift ? 8 : 0,
      ...(key === "Enter" ? { text: "\r" } : {}),
    };
    await this.#call("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.#call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  /** Clicks the middle of an element. */
  async click(selector: string): Promise<void> {
    const { x, y } = await this.evaluate(
      `(() => { const r = document.querySelector(${JSON.stringify(selector)})` +
        `.getBoundingClientRect(); return { x: r.x + r.width / 2, y: r.y + r.height / 2 }; })()`,
    );
    const at = { x, y, button: "left", clickCount: 1 };
    await this.#call("Input.dispatchMouseEvent", { type: "mousePressed", ...at });
    await this.#call("Input.dispatchMouseEvent", { type: "mouseReleased", ...at });
  }

  /** Picks a file in a file field, as a person would: the same one again is no change. */
  async chooseFile(selector: string, path: string): Promise<void> {
    const { root } = await this.#call("DOM.getDocument");
    const { nodeId } = await this.#call("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.#call("DOM.setFileInputFiles", { nodeId, files: [path] });
  }

  /** A picture of the page as PNG. */
  async screenshot(): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.#call("Page.captureScreenshot", { format: "png" });
    return Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.onclose = () => resolve());
    this.#session = undefined;
    this.#call("Browser.close").catch(() => undefined);
    await this.#process.status;
    this.#socket.close();
    await closed;
    await this.#process.stderr.cancel();
    await removeFolder(this.#folder);
  }

  // deno-lint-ignore no-explicit-any -- the protocol's results have a shape per method
  async #call(method: string, params: Record<string, unknown> = {}): Promise<any> {
    const id = ++this.#lastId;
    const reply = await new Promise<Reply>((resolve) => {
      this.#replies.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params, sessionId: this.#session }));
    });
    if (reply.error) throw new Error(`${method}: ${reply.error.message}`);
    return reply.result;
  }

  #receive(message: Reply): void {
    if (message.id !== undefined) {
      this.#replies.get(message.id)?.(message);
      this.#replies.delete(message.id);
    } else if (message.method === "Runtime.exceptionThrown") {
      this.errors.push(message.params.exceptionDetails.exception?.description ?? "exception");
    } else if (
      message.method === "Runtime.consoleAPICalled" && message.params.type === "error"
    ) {
      this.errors.push(message.params.args.map((a: { value: unknown }) => a.value).join(" "));
    }
  }
}

async function devToolsAddress(stderr: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stderr.getReader();
  const decoder = new TextDecoder();
  let text = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the browser ended before it listened:\n${text}`);
    text += decoder.decode(value, { stream: true });
    const address = text.match(/DevTools listening on (ws:\S+)/)?.[1];
    if (address !== undefined) {
      reader.releaseLock();
      return address;
    }
  }
}

/** The browser's helpers write into the profile for a moment after it has ended. */
async function removeFolder(folder: string): Promise<void> {
  for (let attempt = 0;; attempt++) {
    try {
      return await Deno.remove(folder, { recursive: true });
    } catch (error) {
      if (attempt === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
