import { type App, createApp } from "../../src/server/app.ts";
import type { Surface } from "../../src/server/context.ts";
import type { AppOptions } from "../../src/server/options.ts";
import { FakeEnginePool, type FakePoolOptions } from "./fake_engine_pool.ts";

/** An application over a fake pool, and short ways to call it. */
export interface TestApp {
  app: App;
  pool: FakeEnginePool;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

/** Makes an application over a fake pool. */
export function testApp(
  fake: FakePoolOptions = {},
  options: AppOptions = {},
  surfaces: Surface[] = [],
): TestApp {
  const pool = new FakeEnginePool(fake);
  const app = createApp({ pool, options, surfaces });
  const call = async (path: string, init: RequestInit) =>
    await app.fetch(new Request(`http://localhost${path}`, init));
  return {
    app,
    pool,
    get: (path, headers) => call(path, { headers }),
    post: (path, body, init = {}) =>
      call(path, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        ...init,
        headers: { "Content-Type": "application/json", ...init.headers },
      }),
  };
}

/** The `data` of every server-sent event of an answer, parsed unless it is `[DONE]`. */
// deno-lint-ignore no-explicit-any -- tests look into JSON of any shape
export async function readEvents(response: Response): Promise<any[]> {
  const text = await response.text();
  return text.split("\n\n").filter((block) => block.startsWith("data: ")).map((block) => {
    const data = block.slice("data: ".length);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}
