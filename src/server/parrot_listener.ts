// deno-lint-ignore no-external-import -- built into Deno; Deno.serve discards the body of a GET, this delivers it
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { log } from "../common/log.ts";
import { ApiError } from "./api_error.ts";
import { bearerKey } from "./auth.ts";
import type { FetchHandler, Listener } from "./context.ts";
import { isIpAddress, isLoopback } from "./host_name.ts";
import { originProblem } from "./origin_problem.ts";
import { parrotError } from "./parrot_errors.ts";
import { jsonFields, type ParrotWire } from "./parrot_wire.ts";
import { stalledError } from "./unstalled_body.ts";
import { utf8Text } from "./utf8_text.ts";

/** What the listener needs. */
export interface ParrotListenerOptions {
  /** Port on loopback; 0 for any free one. */
  port: number;
  maxBodyBytes: number;
  /** Milliseconds without a byte of a body after which it is given up. */
  bodyIdleMs: number;
  /** Which pages may call, as `originProblem` reads it; absent: all. */
  pages?: Parameters<typeof originProblem>[2];
  wire: ParrotWire;
  /** Answers every path that is not Parrot's. */
  fetch: FetchHandler;
}

/** A listener for Parrot's client. */
export interface ParrotListener extends Listener {
  readonly port: number;
}

class BodyTooLarge extends Error {}

/** Of the connection, not of the request that is passed on. */
const ofConnection = new Set(["connection", "upgrade"]);

/** What the main application has no route for, in Parrot's words. */
const refusals = new Map([[404, "Not Found"], [405, "Method Not Allowed"]]);

/**
 * Serves Parrot's routes on 127.0.0.1, with bodies on every method. No time limits but for bodies that stall: its client waits for a variable
 * on one open request for as long as that takes. Rejects with `Deno.errors.AddrInUse` when the port is taken.
 */
export async function parrotListener(options: ParrotListenerOptions): Promise<ParrotListener> {
  const running = new Set<AbortController>();
  const server = createServer((request, response) => {
    const leave = new AbortController();
    running.add(leave);
    response.on("close", () => {
      running.delete(leave);
      leave.abort(new DOMException("The client left", "AbortError"));
    });
    handle(options, request, response, leave.signal).catch((error) => {
      if (leave.signal.aborted) return;
      log("error", "a request on Parrot's port failed", { error: String(error?.stack ?? error) });
      send(response, 500, { error: "InternalError: the server's log says more", traceback: "" });
    });
  });
  server.requestTimeout = 0;
  server.timeout = 0;
  const port = await listen(server, options.port);
  return {
    port,
    address: `http://127.0.0.1:${port}`,
    close: () => {
      for (const leave of running) leave.abort(new DOMException("Closing", "AbortError"));
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: Error & { code?: string }) =>
      reject(
        error.code === "EADDRINUSE"
          ? new Deno.errors.AddrInUse(`Port ${port} of 127.0.0.1 (Parrot's wire) is taken`)
          : error,
      ));
    server.listen(port, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}

async function handle(
  { wire, fetch, maxBodyBytes, bodyIdleMs, pages }: ParrotListenerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const refuse = (status: number, error: string) =>
    send(response, status, { error, traceback: "" });
  const url = addressed(request);
  if (!url) {
    return refuse(400, `Host ${request.headers.host} and path ${request.url} make no address`);
  }
  if (request.method === "TRACE") return refuse(405, "Method Not Allowed: TRACE");
  if (!isLoopback(url.hostname) && !isIpAddress(url.hostname)) {
    // A web page could reach this port through a name of its own that resolves to this machine.
    return refuse(403, `Host ${url.hostname} is not this machine`);
  }
  const problem = pages && originProblem(request.headers.origin, url, pages);
  if (problem !== undefined) return refuse(403, problem);
  let body: Uint8Array<ArrayBuffer>;
  try {
    body = await readBody(request, maxBodyBytes, bodyIdleMs);
  } catch (error) {
    if (error instanceof ApiError) {
      const { status, body } = parrotError(error);
      return send(response, status, body, { connection: "close" });
    }
    // Anything else says that the client has left.
    if (error instanceof BodyTooLarge) refuse(413, `body: over ${maxBodyBytes} bytes`);
    return;
  }
  const method = request.method ?? "GET";
  const text = () => utf8Text(body, request.headers["content-type"]);
  const answer = await wire.answer({
    method,
    path: url.pathname,
    fields: () =>
      body.length === 0 && method === "GET"
        ? Object.fromEntries(url.searchParams)
        : jsonFields(text()),
    bearer: bearerKey(request.headers.authorization),
    signal,
  });
  if (signal.aborted) return;
  if (answer) return send(response, answer.status, answer.body, answer.headers);
  if (method === "GET" && body.length > 0) {
    let fields: Record<string, unknown>;
    try {
      fields = jsonFields(text());
    } catch (error) {
      const { status, body } = parrotError(error);
      return send(response, status, body);
    }
    for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, String(value));
  }
  await forward(fetch, url, request, body, response, signal);
}

/**
 * Where a request is addressed to. The host is the header's alone: a path may begin like an address without a scheme (`//127.0.0.1/v1`), whose
 * host would let in a page that reaches this port by a name of its own.
 */
function addressed({ url = "/", headers }: IncomingMessage): URL | undefined {
  const text = url.startsWith("/") ? `http://${headers.host ?? "127.0.0.1"}${url}` : url;
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** Answers through the main application. */
async function forward(
  fetch: FetchHandler,
  url: URL,
  request: IncomingMessage,
  body: Uint8Array<ArrayBuffer>,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === "string" && !ofConnection.has(name)) headers.set(name, value);
  }
  const bodiless = request.method === "GET" || request.method === "HEAD";
  const answer = await fetch(
    new Request(url, {
      method: request.method,
      headers,
      body: bodiless ? undefined : body,
      signal,
    }),
  );
  const refusal = refusals.get(answer.status);
  if (refusal !== undefined && answer.headers.get("content-type")?.includes("json")) {
    await answer.body?.cancel();
    return send(response, answer.status, { error: `${refusal}: ${url.pathname}`, traceback: "" });
  }
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  if (answer.body) {
    const reader = answer.body.getReader();
    signal.addEventListener("abort", () => reader.cancel().catch(() => {}), { once: true });
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (!response.write(part.value) && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const go = () => {
            response.off("drain", go);
            signal.removeEventListener("abort", go);
            resolve();
          };
          response.on("drain", go);
          signal.addEventListener("abort", go);
        });
      }
    }
  }
  response.end();
}

function readBody(
  request: IncomingMessage,
  maxBytes: number,
  idleMs: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const take = (chunk: Uint8Array) => {
      clearTimeout(timer);
      timer = setTimeout(stall, idleMs);
      bytes += chunk.length;
      if (bytes > maxBytes) reject(new BodyTooLarge());
      else chunks.push(chunk);
    };
    const stall = () => {
      reject(stalledError(bytes, idleMs));
      // The request, and what listens to it, lives as long as its connection.
      request.off("data", take);
      chunks.length = 0;
    };
    let timer = setTimeout(stall, idleMs);
    request.on("data", take);
    request.on("close", () => clearTimeout(timer));
    request.on("error", reject);
    request.on("end", () => {
      clearTimeout(timer);
      const body = new Uint8Array(bytes);
      let at = 0;
      for (const chunk of chunks) {
        body.set(chunk, at);
        at += chunk.length;
      }
      resolve(body);
    });
  });
}

function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json",
    "content-length": new TextEncoder().encode(text).length,
  });
  response.end(text);
}
