import { parseTemplate, type TemplatePiece } from "./call_template.ts";
import { GraphError } from "./graph_error.ts";
import { type ChainNode, type Fill, type GraphNode, type NativeNode, newNode } from "./node.ts";
import type {
  CallParameter,
  NativeCall,
  Operation,
  ParameterInfo,
  SemanticCall,
  Submitted,
  TransformCall,
  UpscaleCall,
} from "./operation.ts";
import { parseSamplingConfig } from "./sampling_config.ts";
import type { SemanticVariable } from "./semantic_variable.ts";
import { type Session, VARIABLE_CHARS } from "./session.ts";

/** Most outputs of one call: each one's prompt holds all before it. */
const MAX_OUTPUTS = 256;

/** What a build needs to know beside the operation. */
export interface BuildContext {
  now: number;
  /** Ids for the variables it creates, in order. */
  newVariableId: () => string;
}

/** What was built. */
export interface Built extends Submitted {
  nodes: GraphNode[];
  /** Takes it out again; only of what was built last, before any of it runs. */
  undo(): void;
}

/**
 * Turns an operation into nodes of the session's graph. All or nothing: an operation that is refused (`GraphError`)
 * leaves the session as it was.
 */
export function buildOperation(
  session: Session,
  operation: Operation,
  context: BuildContext,
): Built {
  session.checkRoom(0, 1);
  return new Builder(session, context, operation).build(operation);
}

class Builder {
  readonly #session: Session;
  readonly #context: BuildContext;
  readonly #parameters = new Map<string, CallParameter>();
  readonly #deadline: number | undefined;
  readonly #nodes: GraphNode[] = [];
  readonly #created: SemanticVariable[] = [];
  readonly #literals: { variable: SemanticVariable; text: string }[] = [];
  readonly #info: ParameterInfo[] = [];
  readonly #outputs = new Map<string, SemanticVariable>();
  /** Characters that the session has counted for this operation. */
  #counted = 0;

  constructor(session: Session, context: BuildContext, operation: Operation) {
    this.#session = session;
    this.#context = context;
    this.#deadline = operation.deadlineMs === undefined
      ? undefined
      : context.now + operation.deadlineMs;
    for (const parameter of operation.parameters) {
      if (this.#parameters.has(parameter.name)) {
        throw new GraphError("invalid", `Parameter ${parameter.name} is given twice`);
      }
      this.#parameters.set(parameter.name, parameter);
    }
  }

  build(operation: Operation): Built {
    const requestId = this.#session.calls;
    try {
      this.#session.charging(() => {
        this.#expand(operation);
        this.#chargeRest(operation);
        this.#wire();
      });
    } catch (error) {
      this.#undo();
      throw error;
    }
    this.#session.calls++;
    this.#session.nodes.push(...this.#nodes);
    for (const { variable, text } of this.#literals) variable.set(text);
    const undo = () => {
      this.#session.calls--;
      this.#session.nodes.length -= this.#nodes.length;
      this.#undo();
    };
    return { requestId, parameters: this.#info, nodes: this.#nodes, undo };
  }

  /** Counts what has not been counted and is kept too: literals of native functions, names, transforms; as far as the variables do not stand for it. */
  #chargeRest(operation: Operation): void {
    const room = VARIABLE_CHARS * Math.max(1, this.#created.length);
    const rest = charsOf(operation) - this.#counted - room;
    if (rest > 0) this.#charge(rest, "Literals and names of a call");
  }

  #charge(chars: number, what: string): void {
    this.#session.charge(chars, what);
    this.#counted += chars;
  }

  #expand(operation: Operation): void {
    switch (operation.kind) {
      case "call":
        return this.#call(operation);
      case "native":
        return this.#native(operation);
      case "transform":
      case "upscale":
        return this.#unary(operation);
    }
  }

  #call(call: SemanticCall): void {
    this.#charge(call.template.length, "template");
    const pieces = parseTemplate(call.template);
    const last = pieces.findLastIndex((piece) => this.#isOutput(piece));
    if (last < 0 && call.removePureFill) {
      throw new GraphError(
        "invalid",
        "template: no output placeholder, so there is nothing to run",
      );
    }
    const outputs = pieces.filter((piece) => this.#isOutput(piece)).length;
    if (outputs > MAX_OUTPUTS) {
      throw new GraphError(
        "limit",
        `template: ${outputs} outputs, expected at most ${MAX_OUTPUTS}`,
      );
    }
    let fills: Fill[] = [];
    let previous: ChainNode | undefined;
    for (const [i, piece] of pieces.entries()) {
      if (piece.kind === "text") {
        fills.push({ kind: "constant", text: piece.text });
      } else if (this.#isOutput(piece)) {
        if (i === 0) this.#refuseLeadingOutput(piece);
        previous = this.#chain(call, this.#parameter(piece.name), fills, previous);
        fills = [];
      } else {
        const variable = this.#input(this.#parameter(piece.name));
        fills.push({ kind: "variable", variable });
      }
    }
    this.#refuseUnnamedOutputs();
  }

  /** Whoever read one would wait for ever. */
  #refuseUnnamedOutputs(): void {
    for (const { name, isOutput } of this.#parameters.values()) {
      if (!isOutput || this.#outputs.has(name)) continue;
      throw new GraphError(
        "invalid",
        `template: output {{${name}}} is given in parameters, expected its place in the text, too`,
      );
    }
  }

  #refuseLeadingOutput(piece: TemplatePiece): never {
    const name = piece.kind === "placeholder" ? piece.name : "";
    throw new GraphError(
      "invalid",
      `template: begins with output {{${name}}}, expected text or an input before it`,
    );
  }

  #chain(
    call: SemanticCall,
    parameter: CallParameter,
    fills: Fill[],
    previous: ChainNode | undefined,
  ): ChainNode {
    const output = this.#output(parameter);
    const sampling = parseSamplingConfig(parameter.sampling, call.seed);
    if (sampling.constraint) {
      this.#charge(JSON.stringify(sampling.constraint).length, "structured_outputs");
    }
    const inputs = fills.flatMap((fill) => fill.kind === "variable" ? [fill.variable] : []);
    if (previous) {
      previous.continued = true;
      inputs.push(previous.generate.output);
    }
    const chain: ChainNode = {
      ...this.#node(inputs, [output]),
      kind: "chain",
      fills,
      generate: {
        output,
        sampling,
        transforms: parameter.transforms ?? [],
      },
      previous,
      continued: false,
      raw: undefined,
      models: call.models,
      usage: undefined,
    };
    this.#nodes.push(chain);
    return chain;
  }

  #native(call: NativeCall): void {
    const args: NativeNode["arguments"] = new Map();
    const results: NativeNode["results"] = new Map();
    const transforms: NativeNode["transforms"] = new Map();
    const inputs: SemanticVariable[] = [];
    for (const parameter of call.parameters) {
      if (parameter.isOutput) {
        results.set(parameter.name, this.#output(parameter));
        if (parameter.transforms) transforms.set(parameter.name, parameter.transforms);
      } else if (parameter.variableId !== undefined || parameter.transforms?.length) {
        const variable = this.#input(parameter);
        inputs.push(variable);
        args.set(parameter.name, { variable });
      } else {
        args.set(parameter.name, { value: parameter.value });
      }
    }
    if (results.size === 0) {
      throw new GraphError("invalid", `Native function ${call.functionName} has no output`);
    }
    this.#charge(call.code.length, "func_code");
    this.#nodes.push({
      ...this.#node(inputs, [...results.values()]),
      kind: "native",
      functionName: call.functionName,
      code: call.code,
      arguments: args,
      results,
      transforms,
      timeoutMs: call.timeoutMs,
    });
  }

  #unary(call: TransformCall | UpscaleCall): void {
    const inputs = call.parameters.filter((parameter) => !parameter.isOutput);
    const outputs = call.parameters.filter((parameter) => parameter.isOutput);
    if (inputs.length !== 1 || outputs.length !== 1) {
      throw new GraphError(
        "invalid",
        `${call.kind}: got ${inputs.length} inputs and ${outputs.length} outputs, expected one of each`,
      );
    }
    const after = outputs[0].transforms ?? [];
    if (call.kind === "upscale" && after.length > 0) {
      throw new GraphError("invalid", `Output ${outputs[0].name}: transforms are for texts`);
    }
    const base = this.#node([this.#input(inputs[0])], [this.#output(outputs[0])]);
    this.#nodes.push(
      call.kind === "transform"
        ? { ...base, kind: "transform", transforms: [...call.transforms, ...after] }
        : { ...base, kind: "upscale", options: call.options },
    );
  }

  #node(inputs: readonly SemanticVariable[], outputs: SemanticVariable[]) {
    const id = this.#session.nodes.length + this.#nodes.length;
    const { now } = this.#context;
    return newNode(id, this.#session.calls, inputs, outputs, now, this.#deadline);
  }

  #isOutput(piece: TemplatePiece): boolean {
    return piece.kind === "placeholder" && this.#parameter(piece.name).isOutput;
  }

  #parameter(name: string): CallParameter {
    const parameter = this.#parameters.get(name);
    if (parameter) return parameter;
    throw new GraphError("invalid", `template: {{${name}}} has no entry in parameters`);
  }

  #input(parameter: CallParameter): SemanticVariable {
    let variable: SemanticVariable;
    if (parameter.variableId !== undefined) {
      variable = this.#session.variable(parameter.variableId);
    } else {
      const { value } = parameter;
      const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
      this.#charge(text.length, `Parameter ${parameter.name}`);
      variable = this.#create(parameter.name);
      this.#literals.push({ variable, text });
    }
    this.#note(parameter, variable);
    return parameter.transforms?.length ? this.#transformed(variable, parameter) : variable;
  }

  /** A variable that holds `variable` after the parameter's transforms. */
  #transformed(variable: SemanticVariable, parameter: CallParameter): SemanticVariable {
    const derived = this.#create(parameter.name);
    this.#nodes.push({
      ...this.#node([variable], [derived]),
      kind: "transform",
      transforms: parameter.transforms ?? [],
    });
    return derived;
  }

  #output(parameter: CallParameter): SemanticVariable {
    if (this.#outputs.has(parameter.name)) {
      throw new GraphError(
        "invalid",
        `template: output {{${parameter.name}}} appears twice; a variable is set once`,
      );
    }
    const variable = parameter.variableId === undefined
      ? this.#create(parameter.name)
      : this.#session.variable(parameter.variableId);
    const taken = [...this.#outputs.values()].includes(variable);
    if (variable.producer || variable.state !== "pending" || taken) {
      throw new GraphError(
        "conflict",
        `Output ${parameter.name}: variable ${variable.id} is ${
          variable.state === "pending" ? "the output of another call" : variable.state
        } already`,
      );
    }
    this.#outputs.set(parameter.name, variable);
    this.#note(parameter, variable);
    return variable;
  }

  #create(name: string): SemanticVariable {
    const variable = this.#session.addVariable(this.#context.newVariableId(), name);
    this.#created.push(variable);
    return variable;
  }

  #note(parameter: CallParameter, variable: SemanticVariable): void {
    this.#info.push({
      parameter_name: parameter.name,
      is_output: parameter.isOutput,
      var_name: variable.name,
      var_id: variable.id,
    });
  }

  /** Joins the new nodes to the graph. Throws `GraphError` (invalid) when they would close a cycle. */
  #wire(): void {
    for (const node of this.#nodes) this.#session.dag.add(node);
    for (const node of this.#nodes) {
      for (const output of node.outputs) output.producer = node;
      for (const input of node.inputs) {
        input.consumers.push(node);
        if (input.state !== "ready") node.missing++;
      }
    }
    const edges = this.#edges();
    for (const [from, to] of edges) this.#session.dag.connect(from, to);
    for (const [from, to] of edges) this.#session.dag.deepen(from, to);
  }

  /** Parts the new nodes from the graph, as far as they have joined it, and forgets the variables made for them. */
  #undo(): void {
    const added = new Set(this.#nodes);
    for (const node of this.#nodes) {
      for (const output of node.outputs) output.producer = undefined;
      for (const input of node.inputs) {
        const kept = input.consumers.filter((consumer) => !added.has(consumer));
        input.consumers.splice(0, input.consumers.length, ...kept);
      }
    }
    for (const { id } of this.#created) this.#session.variables.delete(id);
  }

  #edges(): [GraphNode, GraphNode][] {
    const edges: [GraphNode, GraphNode][] = [];
    for (const node of this.#nodes) {
      for (const { producer } of node.inputs) if (producer) edges.push([producer, node]);
      // Outputs bound to variables that others read already.
      for (const { consumers } of node.outputs) {
        for (const consumer of consumers) edges.push([node, consumer]);
      }
    }
    return edges;
  }
}

/** About the characters that `value`, of JSON, has when it is written. */
function charsOf(value: unknown): number {
  let chars = 0;
  const left = [value];
  while (left.length > 0) {
    const one = left.pop();
    if (typeof one === "string") chars += one.length;
    else if (typeof one !== "object" || one === null) chars += 4;
    else if (Array.isArray(one)) { for (const item of one) left.push(item); }
    else {
      for (const [key, item] of Object.entries(one)) {
        chars += key.length;
        left.push(item);
      }
    }
  }
  return chars;
}
