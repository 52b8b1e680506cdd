import { z } from "@hono/zod-openapi";

const textPart = z.object({
  type: z.enum(["input_text", "output_text", "text"]),
  text: z.string(),
});
const refusalPart = z.object({ type: z.literal("refusal"), refusal: z.string() });

const contentSchema = z.union([z.string(), z.array(z.union([textPart, refusalPart]))], {
  error: "expected a string or an array of text parts; other kinds of part are not supported",
});

const schemas = {
  message: z.object({
    type: z.literal("message").default("message"),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content: contentSchema,
  }),
  function_call: z.object({
    type: z.literal("function_call"),
    call_id: z.string().min(1),
    name: z.string(),
    arguments: z.string(),
  }),
  function_call_output: z.object({
    type: z.literal("function_call_output"),
    call_id: z.string(),
    output: contentSchema,
  }),
  item_reference: z.object({
    type: z.literal("item_reference").default("item_reference"),
    id: z.string(),
  }),
  reasoning: z.object({ type: z.literal("reasoning") }),
};

/** What a conversation is made of on `/v1/responses`. */
export type ResponseItem = z.infer<(typeof schemas)[keyof typeof schemas]>;

/** One item of a request's `input`. Its fields are checked by the schema of its type, so that a refusal names them. */
export const responseItemSchema = z.unknown().transform((value, context): ResponseItem => {
  const item = typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
  // OpenAI's clients leave out the type of messages and references, or send null.
  const type = item.type ?? ("id" in item && !("role" in item) ? "item_reference" : "message");
  if (typeof type !== "string" || !Object.hasOwn(schemas, type)) {
    const message = `expected one of ${
      Object.keys(schemas).join(", ")
    }; other items are not supported`;
    context.addIssue({ code: "custom", path: ["type"], message });
    return z.NEVER;
  }
  const given = item.type === null ? { ...item, type } : value;
  const read = schemas[type as keyof typeof schemas].safeParse(given);
  if (read.success) return read.data;
  for (const { path, message } of read.error.issues) {
    context.addIssue({ code: "custom", path, message });
  }
  return z.NEVER;
}).openapi({
  type: "object",
  description:
    "`message` (the default): `role` of system, developer, user or assistant, and `content`, a text or text parts. `function_call`: `call_id`, `name` and " +
    "`arguments`, as answered. `function_call_output`: its result, `call_id` and `output`. `item_reference`: `id` of an item of a stored response. " +
    "`reasoning` is read over.",
});
