import { toStructuredOutputs } from "../constraint/structured_outputs.ts";
import type { TextConstraint } from "../constraint/text_constraint.ts";
import type { Transform } from "../graph/transform.ts";

/** How an output is generated. */
export interface OutputOptions {
  /** Default 512. */
  maxTokens?: number;
  /** 0 is greedy. Default 0. */
  temperature?: number;
  /** Keep the likeliest tokens that hold this much probability. */
  topP?: number;
  /** Keep this many of the likeliest tokens. */
  topK?: number;
  /** Same seed, same text. */
  seed?: number;
  /** Generation ends before the first of these. */
  stop?: string[];
  /** Go on past the model's own end. */
  ignoreEos?: boolean;
  /** What the text has to be; the output fails if `maxTokens` are not enough for it. Not together with `ignoreEos`. */
  constraint?: TextConstraint;
  /** Applied by the server before the variable is set. */
  transforms?: Transform[];
}

/** The place of an input in a function's text. */
export interface InputSlot<Name extends string = string> {
  /** Marks an input. */
  readonly kind: "input";
  /** Its name. */
  readonly name: Name;
  /** What is done to the value before it is filled in. */
  readonly transforms?: Transform[];
}

/** The place of an output in a function's text. */
export interface OutputSlot<Name extends string = string> {
  /** Marks an output. */
  readonly kind: "output";
  /** Its name. */
  readonly name: Name;
  /** How it is generated. */
  readonly options: OutputOptions;
}

/** A place in a function's text. */
export type Slot = InputSlot | OutputSlot;

/** Names of the inputs among slots. */
export type InputName<Slots extends readonly Slot[]> = Extract<
  Slots[number],
  { kind: "input" }
>["name"];
/** Names of the outputs among slots. */
export type OutputName<Slots extends readonly Slot[]> = Extract<
  Slots[number],
  { kind: "output" }
>["name"];

/** A function whose body is a prompt: calls give its inputs, and get its outputs as variables. */
export interface SemanticFunction<Input extends string = string, Output extends string = string> {
  /** The body, with `{{name}}` for every slot. */
  readonly template: string;
  /** The inputs by name. */
  readonly inputs: ReadonlyMap<Input, InputSlot<Input>>;
  /** The outputs by name. */
  readonly outputs: ReadonlyMap<Output, OutputSlot<Output>>;
}

/** An input of a semantic function; `transforms` are applied to what is passed. */
export function input<const Name extends string>(
  name: Name,
  options: { transforms?: Transform[] } = {},
): InputSlot<Name> {
  return { kind: "input", name: checkName(name), transforms: options.transforms };
}

/** An output of a semantic function. Throws `ConstraintError` for a constraint of no known kind or without what it holds to, `TypeError` for a name that is none. */
export function output<const Name extends string>(
  name: Name,
  options: OutputOptions = {},
): OutputSlot<Name> {
  // Here, where it is written: on the wire what is not known or not given would be no constraint at all.
  if (options.constraint !== undefined) toStructuredOutputs(options.constraint);
  return { kind: "output", name: checkName(name), options };
}

/**
 * Makes a semantic function of a tagged template:
 *
 * ```ts ignore
 * import { input, output, semanticFunction } from "@sparrow/sparrow";
 *
 * const translate = semanticFunction`Translate into French: ${input("text")}\nFrench: ${output("french")}`;
 * ```
 *
 * Throws `TypeError` for a slot that is neither, when an output comes first, comes twice, or is an input too, or when the text itself
 * holds something that reads like a slot.
 */
export function semanticFunction<const Slots extends readonly Slot[]>(
  strings: TemplateStringsArray,
  ...slots: Slots
): SemanticFunction<InputName<Slots>, OutputName<Slots>> {
  const inputs = new Map<string, InputSlot>();
  const outputs = new Map<string, OutputSlot>();
  let template = "";
  for (const [i, text] of strings.entries()) {
    if (/\{\{[A-Za-z_][A-Za-z0-9_]*\}\}/.test(text)) {
      throw new TypeError(
        `semanticFunction: ${JSON.stringify(text)} reads like a slot: use input()`,
      );
    }
    template += text;
    if (i === slots.length) break;
    const slot = slots[i];
    if (slot?.kind !== "input" && slot?.kind !== "output") {
      throw new TypeError(`semanticFunction: a slot is ${slot}, expected input() or output()`);
    }
    if (slot.kind === "output" && template === "") {
      throw new TypeError(`semanticFunction: output ${slot.name} has nothing before it`);
    }
    if (outputs.has(slot.name) || (slot.kind === "output" && inputs.has(slot.name))) {
      throw new TypeError(`semanticFunction: ${slot.name} is an output, and appears twice`);
    }
    if (slot.kind === "input") inputs.set(slot.name, slot);
    else outputs.set(slot.name, slot);
    template += `{{${slot.name}}}`;
  }
  if (outputs.size === 0) throw new TypeError("semanticFunction: no output, so nothing to run");
  return { template, inputs, outputs } as unknown as SemanticFunction<
    InputName<Slots>,
    OutputName<Slots>
  >;
}

function checkName<Name extends string>(name: Name): Name {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return name;
  throw new TypeError(`slot name ${JSON.stringify(name)}: expected letters, digits and _`);
}
