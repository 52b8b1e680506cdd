/** Answers one request. */
export type FetchHandler = (request: Request) => Response | Promise<Response>;

/** What the HTTP application can be told. Every field has a default that suits a server on loopback. */
export interface AppOptions {
  /** Keys a client may present as `Authorization: Bearer KEY`; none turns authentication off. */
  apiKeys?: readonly string[];
  /** Let requests with different keys share cached prefixes (off: a key's timing reveals nothing of another's). */
  sharePrefixes?: boolean;
  /**
   * Names beside `localhost` and IP addresses that requests may be addressed to; absent, any name is accepted.
   * A server on loopback without a key sets it, so that a web page cannot reach it through a name that it controls;
   * pages of origins that are neither its own nor in `corsOrigins` are refused then.
   */
  allowedHosts?: readonly string[];
  /** Origins whose pages may call the server, `*` for all. Default none. */
  corsOrigins?: readonly string[];
  /** Largest request body in bytes. Default 32 MiB: a prompt of a million tokens as JSON numbers is about 7 MiB. */
  maxBodyBytes?: number;
  /** Milliseconds without a byte of a request's body after which it is given up; videos are not. Default 60 000. */
  bodyIdleMs?: number;
  /** Videos that are enlarged at a time, streamed and live ones together. Default 16. */
  maxVideos?: number;
  /** Milliseconds without a byte of a video after which another may have its place, where there is no other. Default 60 000. */
  videoIdleMs?: number;
  /** Milliseconds between comments on a silent stream. Default 15 000. */
  pingMs?: number;
  /**
   * Milliseconds a streaming request may wait for its generation to be accepted before the answer's headers are
   * sent; an error found by then has its own status, a later one arrives in the stream. Default 1 000.
   */
  acceptMs?: number;
  /** Milliseconds that running generations and videos get to finish in `shutdown`. Default 25 000. */
  drainMs?: number;
}

/** How applications of semantic variables are served. */
export interface ApplicationOptions {
  /** Loopback port of Parrot's own wire, for its Python client; 0 or absent: none; `any`: a free one. */
  parrotPort?: number | "any";
  /** File that keeps sessions across restarts; absent: they end with the server. */
  store?: string;
  /** Run the Python functions that clients send, in a sandbox. */
  allowNativeCalls?: boolean;
  /** Interpreter for them. Default `python3`; it must be of the client's minor version. */
  python?: string;
}

/** The options with their defaults filled in; `allowedHosts` stays optional. */
export type ResolvedAppOptions =
  & Required<Omit<AppOptions, "allowedHosts">>
  & Pick<AppOptions, "allowedHosts">;

/**
 * Fills in defaults. Throws `RangeError` for a limit that is not a positive number, a time below 0, a key that no header carries, and an origin or
 * a host that no browser would send like that.
 */
export function resolveAppOptions(options: AppOptions = {}): ResolvedAppOptions {
  const resolved = {
    apiKeys: [],
    sharePrefixes: false,
    corsOrigins: [],
    maxBodyBytes: 32 * 1024 * 1024,
    bodyIdleMs: 60_000,
    maxVideos: 16,
    videoIdleMs: 60_000,
    pingMs: 15_000,
    acceptMs: 1_000,
    drainMs: 25_000,
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  } satisfies ResolvedAppOptions as ResolvedAppOptions;
  for (const name of ["maxBodyBytes", "bodyIdleMs", "maxVideos", "pingMs"] as const) {
    if (!(resolved[name] > 0)) {
      throw new RangeError(`${name}: expected a positive number, got ${resolved[name]}`);
    }
  }
  for (const name of ["acceptMs", "drainMs", "videoIdleMs"] as const) {
    if (!(resolved[name] >= 0)) {
      throw new RangeError(`${name}: expected milliseconds of at least 0, got ${resolved[name]}`);
    }
  }
  if (resolved.apiKeys.some((key) => key.length === 0)) {
    throw new RangeError("apiKeys: an empty key would admit everyone");
  }
  if (!resolved.apiKeys.every((key) => /^[\x21-\x7e]+$/.test(key))) {
    throw new RangeError(
      "apiKeys: a key has characters that no header carries, expected visible ASCII",
    );
  }
  const noOrigin = resolved.corsOrigins.find((origin) => !isOrigin(origin));
  if (noOrigin !== undefined) {
    throw new RangeError(
      `corsOrigins: ${
        JSON.stringify(noOrigin)
      }, expected an origin such as https://example.com, or *`,
    );
  }
  const noHost = resolved.allowedHosts?.find((host) => !isHost(host));
  if (noHost !== undefined) {
    throw new RangeError(
      `allowedHosts: ${
        JSON.stringify(noHost)
      }, expected a name in small letters and without a port, such as gpu.lan`,
    );
  }
  return resolved;
}

/** Extensions and applications have schemes of their own, whose origins URLs do not know. */
function isOrigin(text: string): boolean {
  if (text === "*" || text === "null") return true;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/.test(text)) return false;
  return !/^https?:/.test(text) || URL.canParse(text) && new URL(text).origin === text;
}

function isHost(text: string): boolean {
  const url = `http://${text}/`;
  return URL.canParse(url) && new URL(url).hostname === text;
}
