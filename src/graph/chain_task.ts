import type { Generation } from "../engine/types.ts";
import type { ChainNode } from "./node.ts";
import { type PrefixKey, promptPrefixes } from "./prefix_match.ts";
import type { PlannedTask } from "./task_queue.ts";

/** A chain on its way through an engine. */
export class ChainTask implements PlannedTask {
  readonly chain: ChainNode;
  readonly tenant: string;
  /** Whose cached prefixes it may find. */
  readonly scope: string;
  readonly models: readonly string[];
  readonly strict: boolean;
  readonly urgent: boolean;
  readonly application: number;
  readonly depth: number;
  readonly group: number;
  readonly prefix: readonly PrefixKey[];
  readonly chars: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
  removed?: boolean;
  arrival?: number;
  attempts = 0;
  generation: Generation | undefined;

  constructor(chain: ChainNode, tenant: string, scope: string, charsPerToken: number) {
    const urgent = chain.criteria !== "throughput" && chain.criteria !== undefined;
    const grouped = (chain.group?.size ?? 0) > 1;
    this.chain = chain;
    this.tenant = tenant;
    this.scope = scope;
    this.models = chain.models;
    this.urgent = urgent;
    // A stage of several is done when the last member is: a full batch ends it sooner than small ones in turn.
    this.strict = urgent && !grouped;
    this.application = chain.application?.order ?? 0;
    this.depth = chain.depth;
    this.group = chain.group?.id ?? 0;
    const { keys, chars } = promptPrefixes(chain, scope);
    this.prefix = keys;
    this.chars = chars;
    this.promptTokens = Math.ceil(chars / charsPerToken);
    this.maxTokens = chain.generate.sampling.maxTokens;
  }
}
