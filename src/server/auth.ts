// deno-lint-ignore no-external-import -- built into Deno
import { createHash, timingSafeEqual } from "node:crypto";

/** Who a request belongs to. */
export interface Identity {
  /** Whose sessions are theirs; reveals nothing of the key. */
  tenant: string;
  /** Requests share cached prefixes only within one scope; reveals nothing of the key. */
  cacheScope: string;
}

/** Checks API keys in constant time, and derives from each the scope of its cached prefixes. */
export class Authenticator {
  readonly #keys: { digest: Uint8Array; identity: Identity }[];

  constructor(keys: readonly string[], options: { sharePrefixes?: boolean } = {}) {
    this.#keys = keys.map((key) => {
      const digest = sha256(key);
      const hash = createHash("sha256").update("cache-scope:").update(digest).digest("hex");
      const tenant = hash.slice(0, 16);
      return { digest, identity: { tenant, cacheScope: options.sharePrefixes ? "" : tenant } };
    });
  }

  /** Whether any key is asked for. */
  get required(): boolean {
    return this.#keys.length > 0;
  }

  /** How many may come: as many as keys, or one for all without. */
  get tenants(): number {
    return new Set(this.#keys.map(({ identity }) => identity.tenant)).size || 1;
  }

  /** Whose key this is; undefined when it is nobody's. Without keys, everyone is the same identity. */
  identify(key: string | undefined): Identity | undefined {
    if (!this.required) return { tenant: "", cacheScope: "" };
    if (key === undefined) return undefined;
    const digest = sha256(key);
    let found: Identity | undefined;
    // No early exit: the time taken must not tell which key came close.
    for (const known of this.#keys) {
      if (timingSafeEqual(known.digest, digest)) found = known.identity;
    }
    return found;
  }
}

/** The key of an `Authorization: Bearer KEY` header. */
export function bearerKey(header: string | undefined): string | undefined {
  return header?.match(/^Bearer +(\S+) *$/i)?.[1];
}

/** The subprotocol that the server answers where a socket's key came as another one. */
export const socketProtocol = "sparrow.live";
const keyProtocol = "sparrow.key.";

/**
 * The key of a `Sec-WebSocket-Protocol: sparrow.live, sparrow.key.KEY` header, `KEY` being the key's UTF-8 in base64url without padding: the
 * only header that a page can set for a socket. It is none of the address, which ends up in logs.
 */
export function socketKey(header: string | undefined): string | undefined {
  const name = protocols(header).find((one) => one.startsWith(keyProtocol));
  if (name === undefined) return undefined;
  try {
    const bytes = Uint8Array.fromBase64(name.slice(keyProtocol.length), { alphabet: "base64url" });
    return new TextDecoder().decode(bytes);
  } catch {
    return undefined;
  }
}

/** The subprotocol to answer, of those that a socket's client offers; never the one with the key. */
export function answeredProtocol(header: string | undefined): string | undefined {
  return protocols(header).find((one) => one === socketProtocol);
}

function protocols(header: string | undefined): string[] {
  return (header ?? "").split(",").map((one) => one.trim());
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
