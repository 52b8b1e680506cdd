import { z } from "@hono/zod-openapi";
import { outputSchema } from "./responses_schema.ts";

const partSchema = z.union([
  z.object({ type: z.literal("input_text"), text: z.string() }),
  z.object({
    type: z.literal("output_text"),
    text: z.string(),
    annotations: z.array(z.unknown()),
  }),
  z.object({ type: z.literal("refusal"), refusal: z.string() }),
]);

const itemSchema = z.union([
  outputSchema,
  z.object({
    type: z.literal("message"),
    id: z.string(),
    status: z.literal("completed"),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content: z.array(partSchema),
  }),
  z.object({
    type: z.literal("function_call_output"),
    id: z.string(),
    status: z.literal("completed"),
    call_id: z.string(),
    output: z.union([z.string(), z.array(partSchema)]),
  }),
]).openapi("ResponseInputItem");

/** What a response was made of, as it is kept and read: no references, and an id each. */
export type InputItem = z.infer<typeof itemSchema>;

/** Part of the text of such an item. */
export type InputPart = z.infer<typeof partSchema>;

/** Answer of `GET /v1/responses/{id}/input_items`. */
export const inputItemsSchema = z.object({
  object: z.literal("list"),
  data: z.array(itemSchema),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
}).openapi("ResponseInputItems");

/** Query of `GET /v1/responses/{id}/input_items`. */
export const inputItemsQuerySchema = z.object({
  limit: z.coerce.number("expected a whole number from 1 to 100").int(
    "expected a whole number from 1 to 100",
  ).min(1, "expected 1 to 100").max(100, "expected 1 to 100").default(20).openapi({
    type: "integer",
    minimum: 1,
    maximum: 100,
    description: "Items at most. Default 20.",
  }),
  order: z.enum(["asc", "desc"], 'expected "asc" or "desc"').default("desc").openapi({
    description: "`desc`: the latest first.",
  }),
  after: z.string().optional().openapi({ description: "The item that those asked for follow." }),
});
