import { z } from "@hono/zod-openapi";
import { GraphError } from "../graph/graph_error.ts";
import type {
  CallParameter,
  NativeCall,
  Operation,
  SemanticCall,
  TransformCall,
  UpscaleCall,
} from "../graph/operation.ts";
import { defaultSessionLimits } from "../graph/session.ts";
import { parseTransforms } from "../graph/transform.ts";
import { untilFault } from "./until_fault.ts";
import { validationWords } from "./validation_words.ts";

const parameterSchema = z.strictObject({
  name: z.string(),
  is_output: z.boolean(),
  var_id: z.string().nullish(),
  value: z.unknown().optional(),
  sampling_config: z.record(z.string(), z.unknown()).nullish(),
  transforms: z.unknown().optional(),
});

const parametersSchema = untilFault(
  parameterSchema,
  z.array(parameterSchema),
  defaultSessionLimits.variables,
);

const deadlineSchema = z.number().positive().nullish();

/** Body of `POST /v1/semantic_call`. Unknown keys beside these are let through: the reference's client sends some. */
export const semanticCallSchema = z.object({
  template: z.string(),
  parameters: parametersSchema,
  func_name: z.string().nullish(),
  models: untilFault(z.string(), z.array(z.string())).nullish(),
  model_type: z.string().nullish(),
  remove_pure_fill: z.boolean().nullish(),
  cache_prefix: z.boolean().nullish(),
  fuse_fill: z.boolean().nullish(),
  output_criteria: z.string().nullish(),
  deadline_ms: deadlineSchema,
});

/** Body of `POST /v1/py_native_call`. */
export const nativeCallSchema = z.object({
  func_name: z.string(),
  func_code: z.string(),
  parameters: parametersSchema,
  output_criteria: z.string().nullish(),
  timeout: z.number().positive().max(3600).nullish(),
  deadline_ms: deadlineSchema,
});

/** A transform, or an enlargement, from one variable to another. */
export const unaryCallSchema = z.object({
  kind: z.enum(["transform", "upscale"]),
  parameters: parametersSchema,
  transforms: z.unknown().optional(),
  options: z.strictObject({
    width: z.number().int().positive().optional(),
    height: z.number().int().positive().optional(),
    scale: z.number().positive().optional(),
  }).optional(),
  output_criteria: z.string().nullish(),
  deadline_ms: deadlineSchema,
});

type WireParameter = z.infer<typeof parameterSchema>;

/** Checks a body. Throws `GraphError` (invalid) that names the field, the value met and the one expected. */
export function check<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new GraphError("invalid", validationWords(result.error.issues, body));
}

/** Reads a `semantic_call`. Its seed is drawn here, once, so that a stored call runs the same again. */
export function readSemanticCall(body: unknown): SemanticCall {
  const call = check(semanticCallSchema, body);
  return {
    kind: "call",
    functionName: call.func_name ?? undefined,
    template: call.template,
    parameters: call.parameters.map(readParameter),
    models: call.models ?? [],
    removePureFill: call.remove_pure_fill ?? true,
    outputCriteria: call.output_criteria,
    deadlineMs: call.deadline_ms ?? undefined,
    seed: crypto.getRandomValues(new Uint32Array(1))[0],
  };
}

/** Reads a `py_native_call`. */
export function readNativeCall(body: unknown): NativeCall {
  const call = check(nativeCallSchema, body);
  return {
    kind: "native",
    functionName: call.func_name,
    code: call.func_code,
    parameters: call.parameters.map(readParameter),
    // The reference's server takes one second when its client, as always, sends nothing.
    timeoutMs: (call.timeout ?? 1) * 1000,
    outputCriteria: call.output_criteria,
    deadlineMs: call.deadline_ms ?? undefined,
  };
}

/** Reads a transform or an upscale. */
export function readUnaryCall(body: unknown): TransformCall | UpscaleCall {
  const call = check(unaryCallSchema, body);
  const common = {
    parameters: call.parameters.map(readParameter),
    outputCriteria: call.output_criteria,
    deadlineMs: call.deadline_ms ?? undefined,
  };
  return call.kind === "transform"
    ? { kind: "transform", ...common, transforms: parseTransforms(call.transforms) }
    : { kind: "upscale", ...common, options: call.options ?? {} };
}

/** Reads any operation by its shape: what `POST /v1/apps` takes as a call. */
export function readOperation(body: unknown): Operation {
  const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  if ("kind" in fields && fields.kind !== "call" && fields.kind !== "native") {
    return readUnaryCall(body);
  }
  return "func_code" in fields ? readNativeCall(body) : readSemanticCall(body);
}

function readParameter(parameter: WireParameter): CallParameter {
  const { name, is_output: isOutput } = parameter;
  const variableId = parameter.var_id ?? undefined;
  const hasValue = "value" in parameter && parameter.value !== undefined;
  const transforms = parseTransforms(parameter.transforms);
  if (isOutput) {
    if (hasValue) throw new GraphError("invalid", `Output ${name}: value is for inputs`);
    return { name, isOutput, variableId, sampling: parameter.sampling_config, transforms };
  }
  if (parameter.sampling_config !== undefined && parameter.sampling_config !== null) {
    throw new GraphError("invalid", `Input ${name}: sampling_config is for outputs`);
  }
  if ((variableId !== undefined) === hasValue) {
    throw new GraphError(
      "invalid",
      `Input ${name}: got ${hasValue ? "both" : "neither"} var_id and value, expected one`,
    );
  }
  return { name, isOutput, variableId, value: parameter.value, transforms };
}
