/** Calls to the server that served the page. @module */

/** A refused or failed call: the server's own words, and its status (0 for a stream that broke). */
export class ServerError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The key is kept for this tab only. */
const keyName = "sparrow-api-key";

/** @param {string} key */
export function setKey(key) {
  sessionStorage.setItem(keyName, key);
}

/**
 * Subprotocols of a socket of the server: the key, if there is one, is one of them, since a page can set no header of a socket.
 * @returns {string[]}
 */
export function socketProtocols() {
  const key = sessionStorage.getItem(keyName);
  if (!key) return [];
  const binary = String.fromCharCode(...new TextEncoder().encode(key));
  const text = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["sparrow.live", `sparrow.key.${text}`];
}

/**
 * Calls the server and throws `ServerError` unless the answer is good.
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}
 */
export async function call(path, init = {}) {
  const headers = new Headers(init.headers);
  const key = sessionStorage.getItem(keyName);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer.", 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new ServerError(
    // OpenAI's shape, or Parrot's.
    body.error?.message ?? body.error ?? `The server answered ${response.status}.`,
    response.status,
  );
}

/** The models served, the default first. */
export async function listModels() {
  return (await (await call("/v1/models")).json()).data;
}

/**
 * Posts a streaming request and yields each event's data, parsed.
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} signal
 * @param {(comment: string) => void} [onComment] told of what the server says beside the events
 */
export async function* streamEvents(path, body, signal, onComment) {
  const response = await call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const event of readEvents(response, onComment)) {
    if (event.error) throw new ServerError(event.error.message, 0);
    yield event;
  }
}

/**
 * The data of a response's server-sent events, parsed, up to the end that its wire names: `[DONE]`, or an event that says
 * `done`. Throws `ServerError` when the stream ends before.
 * @param {Response} response
 * @param {(comment: string) => void} [onComment]
 */
export async function* readEvents(response, onComment) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    while (true) {
      const { done, value } = await reader.read().catch((error) => {
        if (error?.name === "AbortError") throw error;
        throw new ServerError("The connection to the server broke before the answer's end.", 0);
      });
      if (done) throw new ServerError("The server closed the stream before its end.", 0);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        if (block.startsWith(": ")) onComment?.(block.slice(": ".length));
        if (!block.startsWith("data: ")) continue;
        const data = block.slice("data: ".length);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        yield event;
        if (event.done) return;
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
