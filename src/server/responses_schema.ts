import { z } from "@hono/zod-openapi";
import { responseFormatSchema } from "./constraint_schema.ts";
import { samplingFields } from "./generation_schema.ts";
import { chatLogprobsFields, responseLogprobsSchema } from "./logprobs_schema.ts";
import { responseItemsSchema } from "./response_item.ts";
import { modelSchema, timingsSchema } from "./schema_common.ts";
import { allowedMode, functionFields, mostTools, toolFields } from "./tool_schema.ts";
import { untilFault } from "./until_fault.ts";
import { unsupportedInResponses } from "./unsupported.ts";

const jsonSchemaFormat = responseFormatSchema.options[2].shape.json_schema;

const formatSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("text") }),
  z.object({ type: z.literal("json_object") }),
  z.object({ type: z.literal("json_schema"), ...jsonSchemaFormat.shape }),
], { error: 'expected a type of "text", "json_object" or "json_schema"' }).openapi(
  "ResponseTextFormat",
  { description: "What the text has to be: any text, any JSON object, or JSON of a schema." },
);

const toolSchema = z.object({
  type: z.literal("function", "only functions are supported: the server runs no tools of its own"),
  ...functionFields,
}).openapi("ResponseTool");

const namedSchema = z.object({ type: z.literal("function"), name: z.string() });

/** A text is what a user says. It is read as an item at once, so that a refusal names the item and field at fault, not the union. */
const inputSchema = z.preprocess(
  (input) => typeof input === "string" ? [{ role: "user", content: input }] : input,
  responseItemsSchema,
).openapi({
  type: ["string", "array"],
  items: { $ref: "#/components/schemas/ResponseItem" },
  description: "What a user says, or the items of a conversation.",
});

/** Body of `POST /v1/responses`. */
export const responseRequestSchema = z.object({
  model: modelSchema,
  input: inputSchema,
  instructions: z.string().nullish().openapi({
    description: "A system message before all others, of this response alone.",
  }),
  previous_response_id: z.string().nullish().openapi({
    description: "A stored response whose conversation this one goes on with.",
  }),
  store: z.boolean().nullish().openapi({
    description:
      "Keep the response in memory, for `previous_response_id` and to be read again. Default true.",
  }),
  background: z.boolean().nullish().openapi({
    description:
      "Answer with a queued response at once; read it until its status is neither `queued` nor `in_progress`.",
  }),
  max_output_tokens: z.int().min(1).nullish().openapi({
    description: "At most this many tokens. Default: to the end of the context.",
  }),
  ...samplingFields,
  top_logprobs: chatLogprobsFields.top_logprobs.openapi({
    description:
      "Log probabilities of the text, and of so many of the likeliest tokens in each place.",
  }),
  include: untilFault(z.string(), z.array(z.string())).nullish().openapi({
    description: "`message.output_text.logprobs` asks for log probabilities; others are ignored.",
  }),
  text: z.object({ format: formatSchema.nullish() }).nullish(),
  tools: z.array(toolSchema).max(mostTools, `expected at most ${mostTools} tools`).nullish(),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    namedSchema,
    z.object({
      type: z.literal("allowed_tools"),
      mode: allowedMode,
      tools: z.array(namedSchema).min(1).max(mostTools),
    }),
  ], {
    error: 'expected "none", "auto", "required", {"type": "function", "name"} or ' +
      `{"type": "allowed_tools", "mode": "auto" or "required", "tools": [1 to ${mostTools} functions]}`,
  }).nullish(),
  parallel_tool_calls: toolFields.parallel_tool_calls,
  metadata: untilFault(z.string(), z.record(z.string(), z.string())).nullish().openapi({
    description: "Returned as it is.",
  }),
  ...unsupportedInResponses,
}).refine(({ background, store }) => !(background && store === false), {
  path: ["background"],
  error: "needs store to be true: what is made in the background is read from there",
}).refine(({ background, stream }) => !(background && stream), {
  path: ["stream"],
  error: "only false is supported beside background: GET /v1/responses/{id} tells of its progress",
}).openapi("ResponseRequest");

/** A validated body of `POST /v1/responses`. */
export type ResponseRequest = z.infer<typeof responseRequestSchema>;

const statusSchema = z.enum(["in_progress", "completed", "incomplete", "failed"]);

/** A message or call of an answer, on the wire. */
export const outputSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("message"),
    id: z.string(),
    status: statusSchema,
    role: z.literal("assistant"),
    content: z.array(z.object({
      type: z.literal("output_text"),
      text: z.string(),
      annotations: z.array(z.unknown()),
      logprobs: responseLogprobsSchema,
    })),
  }),
  z.object({
    type: z.literal("function_call"),
    id: z.string(),
    status: statusSchema,
    call_id: z.string(),
    name: z.string(),
    arguments: z.string().openapi({ description: "JSON, an object." }),
  }),
]).openapi("ResponseOutput");

/** A message or call of an answer. */
export type OutputItem = z.infer<typeof outputSchema>;

/** Answer of `POST /v1/responses`. */
export const responseSchema = z.object({
  id: z.string(),
  object: z.literal("response"),
  created_at: z.int(),
  status: z.enum([...statusSchema.options, "queued", "cancelled"]),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable().openapi({
    description: "Why the response is incomplete: `max_output_tokens`, or the context was full.",
  }),
  model: z.string(),
  output: z.array(outputSchema),
  usage: z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int(), cache_write_tokens: z.literal(0) }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.literal(0) }),
    total_tokens: z.int(),
  }).nullable(),
  timings: timingsSchema.optional(),
}).openapi("Response", { description: "The fields of the request come with it." });

/** An answer of `POST /v1/responses`. */
export type ResponseObject = z.infer<typeof responseSchema> & Record<string, unknown>;

/** Each event of the stream of `POST /v1/responses`. */
export const responseEventSchema = z.object({
  type: z.string().openapi({
    description:
      "`response.created`, `response.in_progress`; for each item `response.output_item.added`, `response.output_text.delta` or " +
      "`response.function_call_arguments.delta`, and what ends them (`….done`); `response.completed`, `response.incomplete` or `response.failed`.",
  }),
  sequence_number: z.int(),
}).openapi("ResponseEvent", {
  description: "As OpenAI has them; the last has the whole `response`.",
});
