import type { DecodePolicy } from "./types.ts";

/** What a policy of each kind may say. */
const fields: Readonly<Record<DecodePolicy["kind"], readonly string[]>> = {
  auto: ["kind"],
  dense: ["kind"],
  retrieval: ["kind", "k", "mass"],
};

/**
 * Throws `TypeError` for what is no policy, one of no known kind, a field that its kind has not, a `k` that is no positive integer or a
 * `mass` outside (0, 1]; absent is the default.
 */
export function checkDecode(policy: DecodePolicy | undefined): void {
  if (policy === undefined) return;
  if (typeof policy !== "object" || policy === null) {
    throw new TypeError(
      `decode is ${shown(policy)}, expected an object such as {"kind": "dense"}`,
    );
  }
  if (!Object.hasOwn(fields, policy.kind)) {
    throw new TypeError(
      `decode.kind is ${shown(policy.kind)}, expected "auto", "dense" or "retrieval"`,
    );
  }
  const known = fields[policy.kind];
  // One that is misspelt would leave the default budget in force, which no answer shows.
  for (const [name, value] of Object.entries(policy)) {
    if (value === undefined || known.includes(name)) continue;
    const expected = known.map((name) => `"${name}"`).join(", ");
    throw new TypeError(
      `decode of kind "${policy.kind}" has a "${name}", expected no more than ${expected}`,
    );
  }
  if (policy.kind !== "retrieval") return;
  const { k, mass } = policy;
  if (k !== undefined && !(Number.isSafeInteger(k) && k > 0)) {
    throw new TypeError(`decode.k is ${shown(k)}, expected a positive integer`);
  }
  if (mass !== undefined && !(typeof mass === "number" && mass > 0 && mass <= 1)) {
    throw new TypeError(`decode.mass is ${shown(mass)}, expected a number above 0, at most 1`);
  }
}

/** Text in quotes, so that "5" is not taken for 5; numbers as they are, NaN among them. */
function shown(value: unknown): string {
  return typeof value === "number" ? String(value) : JSON.stringify(value) ?? String(value);
}
