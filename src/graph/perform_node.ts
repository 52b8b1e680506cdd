import type { Turn } from "../common/few_at_a_time.ts";
import { GraphError } from "./graph_error.ts";
import type { NativeFunctions } from "./native_functions.ts";
import type { ChainNode, GraphNode, UpscaleOptions } from "./node.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import { applyTransforms } from "./transform.ts";

/** Enlarges the image in a data URL. The engines for images and video implement it. */
export interface MediaUpscaler {
  upscale(
    dataUrl: string,
    options: UpscaleOptions,
    turn: Turn & { signal: AbortSignal },
  ): Promise<string>;
}

/** What runs nodes that are no language model's work. */
export interface NodeWorkers {
  nativeFunctions?: NativeFunctions;
  upscaler?: MediaUpscaler;
}

/** Throws `GraphError` (forbidden, unavailable) for work of a kind for which there is no worker. */
export function refuseUnsupported(kind: GraphNode["kind"] | "call", workers: NodeWorkers): void {
  if (kind === "native" && !workers.nativeFunctions) {
    throw new GraphError(
      "forbidden",
      "Native functions are off: they run the client's code on this machine. " +
        "Start the server with --allow-native-calls to allow them.",
    );
  }
  if (kind === "upscale" && !workers.upscaler) {
    throw new GraphError("unavailable", "No engine for images or video is loaded");
  }
}

/** Runs a node that is not a chain; resolves to the values of its outputs. */
export async function performNode(
  node: Exclude<GraphNode, ChainNode>,
  workers: NodeWorkers,
  turn: Turn & { signal: AbortSignal },
): Promise<Map<SemanticVariable, string>> {
  // A server that was started anew may have fewer workers than when the node was made.
  refuseUnsupported(node.kind, workers);
  const [output] = node.outputs;
  switch (node.kind) {
    case "transform":
      return new Map([
        [output, await applyTransforms(node.transforms, node.inputs[0].value, turn)],
      ]);
    case "upscale":
      return new Map([
        [
          output,
          await workers.upscaler!.upscale(node.inputs[0].value, node.options, turn),
        ],
      ]);
    case "native": {
      const args = [...node.arguments].map(([name, source]) =>
        [name, "variable" in source ? source.variable.value : source.value] as const
      );
      const results = await workers.nativeFunctions!.run({
        name: node.functionName,
        code: node.code,
        arguments: Object.fromEntries(args),
        outputs: [...node.results.keys()],
        timeoutMs: node.timeoutMs,
      }, turn);
      const values = new Map<SemanticVariable, string>();
      for (const [name, variable] of node.results) {
        const steps = node.transforms.get(name) ?? [];
        values.set(variable, await applyTransforms(steps, results[name], turn));
      }
      return values;
    }
  }
}
