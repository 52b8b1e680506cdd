import { z } from "@hono/zod-openapi";
import { untilFault } from "./until_fault.ts";

const textPart = z.object({
  type: z.enum(["input_text", "output_text", "text"]),
  text: z.string(),
});
const refusalPart = z.object({ type: z.literal("refusal"), refusal: z.string() });

const partSchema = z.union([textPart, refusalPart]);

const contentSchema = z.union([z.string(), untilFault(partSchema, z.array(partSchema))], {
  error: "expected a string or an array of text parts; other kinds of part are not supported",
});

const schemas = {
  message: z.object({
    type: z.literal("message").default("message"),
    role: z.enum(["system", "developer", "user", "assistant"]).openapi({
      description: "`developer` is read as `system`.",
    }),
    content: contentSchema,
  }),
  function_call: z.object({
    type: z.literal("function_call"),
    call_id: z.string().min(1),
    name: z.string(),
    arguments: z.string().openapi({ description: "JSON, an object." }),
  }),
  function_call_output: z.object({
    type: z.literal("function_call_output"),
    call_id: z.string().openapi({ description: "Of the call whose result this is." }),
    output: contentSchema,
  }),
  item_reference: z.object({
    type: z.literal("item_reference").default("item_reference"),
    id: z.string().openapi({ description: "Of an item of a stored response." }),
  }),
  reasoning: z.object({
    type: z.literal("reasoning").openapi({ description: "Read over." }),
  }),
};

/** What a conversation is made of on `/v1/responses`. */
export type ResponseItem = z.infer<(typeof schemas)[keyof typeof schemas]>;

/** The kinds of items, for the API's document. */
export const responseItemSchema = z.union(Object.values(schemas)).openapi({
  description:
    "Part of a conversation, by default a `message`; what was answered can be sent back as it is.",
});

/**
 * Items of a request. The fields of each are checked by the schema of its type, so that a refusal names them; what follows the first item at
 * fault is not looked at, since it may be millions that are.
 */
export const responseItemsSchema = z.array(
  z.unknown(),
  "expected a text or an array of items",
).min(1, "expected one or more items").transform((values, context): ResponseItem[] => {
  const items: ResponseItem[] = [];
  for (const [i, value] of values.entries()) {
    const read = readItem(value);
    if (!read.success) {
      for (const { path, message } of read.issues) {
        context.addIssue({ code: "custom", path: [i, ...path], message });
      }
      return z.NEVER;
    }
    items.push(read.data);
  }
  return items;
});

type ReadItem =
  | { success: true; data: ResponseItem }
  | { success: false; issues: { path: PropertyKey[]; message: string }[] };

function readItem(value: unknown): ReadItem {
  const item = typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  // OpenAI's clients leave out the type of messages and references, or send null.
  const type = item.type ?? ("id" in item && !("role" in item) ? "item_reference" : "message");
  if (typeof type !== "string" || !Object.hasOwn(schemas, type)) {
    const kinds = Object.keys(schemas).join(", ");
    const message = `expected one of ${kinds}; other items are not supported`;
    return { success: false, issues: [{ path: ["type"], message }] };
  }
  const given = item.type === null ? { ...item, type } : value;
  const read = schemas[type as keyof typeof schemas].safeParse(given);
  return read.success ? read : { success: false, issues: read.error.issues };
}
