import type { GenerateRequest } from "./types.ts";

/**
 * Throws `TypeError` for `stop` or `visible` that are no arrays of texts, `stopTokens` that are no array of integers, a `criteria` that there is
 * not or a `priority` that is no number; absent ones have defaults. Programs without types may pass anything.
 */
export function checkRequest(
  request: Pick<GenerateRequest, "stop" | "visible" | "stopTokens" | "criteria" | "priority">,
): void {
  const { stop, visible, stopTokens, criteria, priority } = request;
  checkList("stop", stop, "strings", (value) => typeof value === "string");
  checkList("visible", visible, "strings", (value) => typeof value === "string");
  checkList("stopTokens", stopTokens, "integers", Number.isInteger);
  if (criteria !== undefined && criteria !== "latency" && criteria !== "throughput") {
    throw new TypeError(
      `criteria is ${JSON.stringify(criteria)}, expected "latency" or "throughput"`,
    );
  }
  if (priority !== undefined && (typeof priority !== "number" || Number.isNaN(priority))) {
    throw new TypeError(`priority is ${priority}, expected a number`);
  }
}

function checkList(
  name: string,
  list: unknown,
  kind: string,
  fits: (value: unknown) => boolean,
): void {
  if (list === undefined || Array.isArray(list) && list.every(fits)) return;
  throw new TypeError(`${name} is ${JSON.stringify(list)}, expected an array of ${kind}`);
}
