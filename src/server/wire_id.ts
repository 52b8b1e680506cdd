/** A new id as OpenAI makes them: the kind of thing, then 24 characters. */
export function wireId(kind: "call" | "msg" | "fc" | "fco" | "resp"): string {
  return `${kind}_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
}
