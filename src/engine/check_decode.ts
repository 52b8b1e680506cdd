import type { DecodePolicy } from "./types.ts";

/** Throws `TypeError` for a policy of no known kind, a `k` that is no positive integer or a `mass` outside (0, 1]; absent is the default. */
export function checkDecode(policy: DecodePolicy | undefined): void {
  if (policy === undefined) return;
  if (!["auto", "dense", "retrieval"].includes(policy.kind)) {
    throw new TypeError(
      `decode.kind is ${JSON.stringify(policy.kind)}, expected "auto", "dense" or "retrieval"`,
    );
  }
  if (policy.kind !== "retrieval") return;
  const { k, mass } = policy;
  if (k !== undefined && !(Number.isSafeInteger(k) && k > 0)) {
    throw new TypeError(`decode.k is ${k}, expected a positive integer`);
  }
  if (mass !== undefined && !(mass > 0 && mass <= 1)) {
    throw new TypeError(`decode.mass is ${mass}, expected a number above 0, at most 1`);
  }
}
