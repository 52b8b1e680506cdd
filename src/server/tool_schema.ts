import { z } from "@hono/zod-openapi";

const namePattern = /^[A-Za-z0-9_-]{1,64}$/;

/** Tools of one request at most, as OpenAI has it. */
export const mostTools = 128;

/** What a request says of a function. */
export const functionFields = {
  name: z.string().regex(namePattern, 'expected 1 to 64 letters, digits, "_" or "-"'),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish().openapi({
    description: "JSON schema of the arguments, an object. Default: there are none.",
  }),
  strict: z.boolean().nullish().openapi({
    description:
      "Whether a schema that cannot be kept as a whole is refused. Default: what cannot be kept of it is ignored, the rest is kept.",
  }),
};

const toolSchema = z.object({
  type: z.literal("function"),
  function: z.object(functionFields),
}).openapi("Tool");

const namedSchema = z.object({
  type: z.literal("function"),
  function: z.object({ name: z.string() }),
});

/** What a choice among some of the tools says beside them. */
export const allowedMode = z.enum(["auto", "required"]);

/** Fields of `/v1/chat/completions` that have to do with tools. */
export const toolFields = {
  tools: z.array(toolSchema).max(mostTools, `expected at most ${mostTools} tools`).nullish()
    .openapi({ description: "Functions that the model may ask to be called." }),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    namedSchema,
    z.object({
      type: z.literal("allowed_tools"),
      allowed_tools: z.object({
        mode: allowedMode,
        tools: z.array(namedSchema).min(1).max(mostTools),
      }),
    }),
  ], {
    error: 'expected "none", "auto", "required", {"type": "function", "function": {"name"}} or ' +
      `{"type": "allowed_tools", "allowed_tools": {"mode": "auto" or "required", "tools": [1 to ${mostTools} functions]}}`,
  }).nullish().openapi({
    description:
      "`none`: the tools are not shown to the model. `auto` (default): text, calls, or text and then calls. `required`: calls. A function: " +
      "one call of it. Allowed tools: all are shown to the model, and calls are of these.",
  }),
  parallel_tool_calls: z.boolean().nullish().openapi({
    description: "Whether one answer may have several calls (at most 16). Default true.",
  }),
};

/** A call in a message, as it is sent and answered. */
export const toolCallSchema = z.object({
  id: z.string().min(1),
  type: z.literal("function"),
  function: z.object({
    name: z.string(),
    arguments: z.string().openapi({ description: "JSON, an object." }),
  }),
}).openapi("ToolCall");

/** Some of a call, in a stream: the first piece of each has its id and name, the others more of the arguments. */
export const toolCallDeltaSchema = z.object({
  index: z.int(),
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
}).openapi("ToolCallDelta");
