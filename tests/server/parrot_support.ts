/** A server with Parrot's wire on simulated engines that run in real time, fast. @module */
// deno-lint-ignore no-external-import -- built into Deno; its requests may carry a body on GET
import { request } from "node:http";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { llama13bOnA100 } from "../../src/graph/sim/cost_model.ts";
import { SimulatedPool, type SimulatedPoolOptions } from "../../src/graph/sim/simulated_pool.ts";
import { createApp } from "../../src/server/app.ts";
import type { AppOptions } from "../../src/server/options.ts";
import type { ParrotSurfaceOptions } from "../../src/server/parrot_surface.ts";

/** An engine whose steps take a fraction of a millisecond. */
export const fastCost = {
  ...llama13bOnA100,
  overheadMs: 0.2,
  weightsMs: 0,
  computeMsPerToken: 0,
  attentionMsPerToken: 0,
};

/** An answer as Parrot's client gets it. */
export interface Reply {
  status: number;
  type: string;
  // deno-lint-ignore no-explicit-any -- the body is what the test is about
  json: any;
}

/** A server that listens for Parrot's client. */
export interface ParrotServer extends AsyncDisposable {
  base: string;
  /** The main port's application. */
  fetch: (request: Request) => Response | Promise<Response>;
  pool: SimulatedPool;
  /** Sends a request with a JSON body, whatever the method. */
  send(method: string, path: string, body?: unknown): Promise<Reply>;
  /** Opens a session. */
  open(): Promise<{ session_id: number; session_auth: string }>;
}

/** Starts one. */
export async function startParrot(
  options: AppOptions & ParrotSurfaceOptions = {},
  engine: Partial<SimulatedPoolOptions> = {},
): Promise<ParrotServer> {
  const pool = new SimulatedPool({ cost: fastCost, model: "tiny", ...engine });
  const app = createApp({ pool, options: { ...options, parrotPort: "any" } });
  const listeners = await app.listen();
  const base = listeners[0].address;
  const send: ParrotServer["send"] = (method, path, body) => sendRaw(base, method, path, body);
  return {
    base,
    fetch: app.fetch,
    pool,
    send,
    open: async () => (await send("POST", "/v1/session", { api_key: "1" })).json,
    async [Symbol.asyncDispose]() {
      await app.shutdown(0);
      await Promise.all(listeners.map((listener) => listener.close()));
      await pool[Symbol.asyncDispose]();
    },
  };
}

/** One request on a connection of its own, as Parrot's synchronous client makes them. */
export function sendRaw(
  base: string,
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<Reply> {
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = { connection: "close" };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = String(new TextEncoder().encode(text).length);
    }
    const outgoing = request(
      `${base}${path}`,
      { method, headers, agent: false, signal },
      (answer) => {
        let received = "";
        answer.setEncoding("utf-8");
        answer.on("data", (chunk: string) => received += chunk);
        answer.on("error", reject);
        answer.on("end", () => {
          const type = String(answer.headers["content-type"] ?? "");
          const json = type.includes("json") ? JSON.parse(received) : received;
          resolve({ status: answer.statusCode ?? 0, type, json });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(text);
  });
}

/** An output parameter of `tokens` tokens, as the reference's client sends it. */
export const out = (name: string, tokens = 4, rest = {}): Record<string, unknown> => ({
  name,
  is_output: true,
  sampling_config: { temperature: 0, max_gen_length: tokens, ...rest },
});

/** A body as the reference's client sends it: every key, always. */
export function callBody(
  session_id: number,
  template: string,
  parameters: unknown[],
  rest = {},
): Record<string, unknown> {
  return {
    session_id,
    models: [],
    model_type: "token_id",
    remove_pure_fill: true,
    cache_prefix: true,
    output_criteria: null,
    fuse_fill: false,
    template,
    parameters,
    func_name: "f",
    ...rest,
  };
}

/** What the client demands of any answer that is not 200. */
export function assertClientError(reply: Reply, status: number, part: string): void {
  assertEquals(reply.status, status, JSON.stringify(reply.json));
  assertStringIncludes(reply.type, "application/json");
  assertEquals(Object.keys(reply.json).sort(), ["error", "traceback"]);
  assertStringIncludes(reply.json.error, part);
  assertEquals(typeof reply.json.traceback, "string");
}
