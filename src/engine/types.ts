/**
 * The nouns that the engine, the server and the graph share. Nothing here touches a GPU, and everything here
 * can be sent between processes as JSON.
 * @module
 */
import type { ToolCall, ToolDefinition, ToolForm } from "../common/tools.ts";
import type { TextConstraint } from "../constraint/text_constraint.ts";
import type { ToolCallConstraint } from "../constraint/tool_call_constraint.ts";
import type { RetrievalLoad } from "../retrieval/retrieval_load.ts";

/** A piece of a prompt. Parts are concatenated; text is tokenized in the engine's host, never in the server. */
export type PromptPart =
  /** Text. `special: true` lets control tokens written in it (such as `<|im_end|>`) become tokens. */
  | { type: "text"; text: string; special?: boolean }
  /** Token ids, taken as they are. */
  | { type: "tokens"; ids: number[] };

/** One turn of a chat, as a chat template sees it. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, `tool` for a result, or what the model's template knows. */
  role: string;
  /** The text of the turn. */
  content: string;
  /** Who speaks, where the template shows it; of a result, the function. */
  name?: string;
  /** Of an assistant: the calls that it asked for. */
  toolCalls?: readonly ToolCall[];
  /** Of a result: the call that it belongs to. */
  toolCallId?: string;
}

/** What the model continues. */
export type Prompt =
  /** Plain parts; the model's beginning-of-sequence token is added in front when its metadata asks for it. */
  | { type: "parts"; parts: PromptPart[] }
  /**
   * A chat, rendered by the model's own template with the generation prompt appended. `tools` are shown to the model; that it calls them
   * well-formed takes a constraint of kind `tool_calls`.
   */
  | { type: "chat"; messages: ChatMessage[]; tools?: readonly ToolDefinition[] };

/** How the next token is chosen. Temperature 0 is greedy, whatever the rest says. */
export interface SamplingOptions {
  /** 0 = greedy (default). */
  temperature: number;
  /** Keep the `topK` likeliest tokens; 0 keeps all. */
  topK: number;
  /** Keep the smallest set of likeliest tokens whose probability reaches `topP`; 1 keeps all. */
  topP: number;
  /** Drop tokens below `minP` times the likeliest one's probability; 0 keeps all. */
  minP: number;
  /** Unsigned 32-bit seed: same seed, same prompt, same text. */
  seed: number;
  /** Taken from the logit of every token that was generated before (OpenAI's `presence_penalty`). Default 0. */
  presencePenalty?: number;
  /** Taken from a token's logit as often as it was generated (OpenAI's `frequency_penalty`). Default 0. */
  frequencyPenalty?: number;
  /** Added to the logits of tokens, by id, before everything else; kept in half precision. Default: nothing. */
  logitBias?: Readonly<Record<number, number>>;
}

/**
 * How attention over the context is computed while decoding: on the GPU (`dense`), over keys and values in CPU memory (`retrieval`), or by
 * retrieval from a length of the prompt on (`auto`; `RetrievalOptions.crossover`).
 */
export type DecodePolicy = { kind: "auto" } | { kind: "dense" } | {
  kind: "retrieval";
  /** Keys retrieved per query head and token; goes before `mass`. */
  k?: number;
  /** Share of attention to keep, above 0: outputs are off by 1 − `mass` at most, on average; 1 is all of it. Default 0.99. */
  mass?: number;
};

/** A generation to run. */
export interface GenerateRequest {
  /** Unique while it lives; chosen by the caller. */
  id: string;
  /** The stem of the model file; the pool's default model when absent. */
  model?: string;
  /** What to continue. */
  prompt: Prompt;
  /** Upper bound on generated tokens; absent: to the end of the context. */
  maxTokens?: number;
  /** How tokens are chosen. */
  sampling: SamplingOptions;
  /** Generation ends before the first of these strings; it is not part of the text. */
  stop?: string[];
  /** Generation ends at any of these tokens, beside the model's own end tokens. */
  stopTokens?: number[];
  /** What the text has to be; absent: anything. Not together with `ignoreEos`. */
  constraint?: TextConstraint | ToolCallConstraint;
  /** Control tokens, by how they are written, that are part of the text where the model writes them. Default: none is. */
  visible?: readonly string[];
  /** Go on past the model's own end tokens (benches). */
  ignoreEos?: boolean;
  /** Prefixes are shared only between requests of equal scope (tenant isolation). Default "". */
  cacheScope?: string;
  /**
   * What the request is for. `latency` work is admitted first and caps the decode batch while it is resident;
   * `throughput` work fills what is left. Default `latency`.
   */
  criteria?: "latency" | "throughput";
  /** Smaller runs first among equals (the graph's application order). Default 0. */
  priority?: number;
  /** Which engine runs it, as an index into `load()`; a pool may choose another one. Default: the pool chooses. */
  engine?: number;
  /** How attention is computed while decoding; the engine's default when absent. */
  decode?: DecodePolicy;
  /** Report how much of the prompt is read, after each step that leaves some of it. Default false. */
  progress?: boolean;
  /**
   * Report the log probability of each token, and so many of the likeliest in its place (0 to 20). They are natural logarithms of the model's own
   * distribution: before temperature, `topK`, `topP`, `minP`, penalties, biases and constraints. Default: not reported.
   */
  logprobs?: number;
  /**
   * Report the prompt as well, before what is generated, with the log probabilities of its tokens if `logprobs` asks for them. Those come from
   * reading the whole prompt: nothing of it is taken from the prefix cache then.
   */
  echo?: boolean;
  /**
   * Give the embedding of the prompt in place of a continuation: pooled as the model file says, or the mean. Nothing is generated, whatever
   * `maxTokens` says, and where the model's metadata asks for an end-of-sequence token it is added behind. `dimensions`: give so many leading
   * elements only, scaled to unit length; default all.
   */
  embed?: { dimensions?: number };
}

/** A token that a model may write in one place, and how likely it is. */
export interface TokenLogprob {
  /** The token's id. */
  id: number;
  /** Its text: control tokens are spelt out, and bytes that make no whole characters are written `\\xNN`. */
  token: string;
  /** The bytes of UTF-8 that it stands for; null for a control token, which stands for no text. */
  bytes: readonly number[] | null;
  /** Natural logarithm of its probability, at least -9999 (what is less likely counts as that). */
  logprob: number;
}

/** A token of a text, how likely it was, and what else was likely in its place. */
export interface ScoredToken extends Omit<TokenLogprob, "logprob"> {
  /** As of `TokenLogprob`; null for the first token of a sequence, which follows nothing. */
  logprob: number | null;
  /** The likeliest tokens, the likeliest first, equal ones by their ids; as many as were asked for. */
  top: TokenLogprob[];
  /** Where its text begins, in code points of the text reported (with `echo`, from the beginning of the prompt). */
  offset: number;
}

/** Why a generation ended. */
export type FinishReason = "stop" | "length" | "cancelled";

/** Counts and times of one finished generation. */
export interface GenerateUsage {
  /** Tokens of the prompt, special ones included. */
  promptTokens: number;
  /** Tokens generated. */
  completionTokens: number;
  /** Prompt tokens whose keys and values were found in the prefix cache. */
  cachedTokens: number;
  /** Milliseconds from submission to the first token; 0 when there was none. */
  ttftMs: number;
  /** Milliseconds from the first token to the last. */
  decodeMs: number;
}

/**
 * What a generation reports, in this order: one `started`, with `progress` any number of `reading`, with `echo` the `prompt` in a piece or several, any number of
 * `delta` or with `embed` one `embedding`, one `finished`.
 */
export type GenerateEvent =
  | { type: "started"; promptTokens: number; cachedTokens: number }
  /** So many tokens of the prompt are read, or were found in the cache, and others are not yet. */
  | { type: "reading"; tokens: number; promptTokens: number }
  /**
   * A piece of the prompt, control tokens spelt out. A beginning-of-sequence token that the model wants and the caller did not write is left out; the
   * first token reported then has a log probability, what follows that token.
   */
  | { type: "prompt"; ids: number[]; text: string; logprobs?: ScoredToken[] }
  /**
   * `text` is whole code points and may be empty; `ids` are the tokens it came from, end tokens left out, and `logprobs` is of each of them if
   * asked for.
   */
  | { type: "delta"; ids: number[]; text: string; logprobs?: ScoredToken[] }
  /** A vector of unit length: f32, little endian, in base64. */
  | { type: "embedding"; vector: string }
  /** `end`: the end token that ended the text, where there was one and log probabilities are asked for. */
  | { type: "finished"; reason: FinishReason; usage: GenerateUsage; end?: ScoredToken };

/** A running generation. Iterate it once; leaving the loop early cancels it. Failures are thrown by the iterator. */
export interface Generation extends AsyncIterable<GenerateEvent> {
  /** The request's id. */
  readonly id: string;
  /** Stops the work and frees its pages; the iterator then ends with `finished: cancelled`. Idempotent. */
  cancel(): void;
}

/** What a loaded model is. */
export interface ModelInfo {
  /** The model file's stem, its name in the API. */
  id: string;
  /** GGUF's `general.architecture`. */
  architecture: string;
  /** Longest context in tokens that the engine accepts (model's own limit and KV memory, whichever is less). */
  contextLength: number;
  /** Number of tokens in the vocabulary. */
  vocabularySize: number;
  /** Elements of an embedding; absent where the model gives none or that is not known. */
  embeddingWidth?: number;
  /** Number of weights. */
  parameters: number;
  /** Unix seconds of the file. */
  created: number;
  /** Whether chats can be rendered. */
  hasChatTemplate: boolean;
  /** The template of chats (Jinja), if there is one. */
  chatTemplate?: string;
  /** Whether texts can be constrained, which takes the native library; absent where that is not known. */
  canConstrain?: boolean;
  /** How the token that begins a sequence is written, if there is one. */
  bosToken?: string;
  /** How the token that ends a sequence is written, if there is one. */
  eosToken?: string;
  /** Adapter description, for people. */
  device: string;
}

export type { JsonSchema, TextConstraint } from "../constraint/text_constraint.ts";
export type { ToolCall, ToolCallConstraint, ToolDefinition, ToolForm };
export type { RetrievalLoad };

/** A snapshot of one engine's load. */
export interface EngineLoad {
  /** The model's id. */
  model: string;
  /** `starting` until the model answers; `failed` when its host could not be brought back. */
  state: "starting" | "ready" | "failed";
  /** Requests that wait. */
  waiting: number;
  /** Requests that hold pages. */
  running: number;
  /** KV pages of 64 tokens in all. */
  pagesTotal: number;
  /** Pages held by running requests. */
  pagesUsed: number;
  /** Pages held only by the prefix cache: free on demand. */
  pagesCached: number;
  /** Totals since the host started. */
  promptTokens: number;
  /** Of `promptTokens`, those found in the prefix cache. */
  cachedPromptTokens: number;
  /** Tokens generated. */
  generatedTokens: number;
  /** Times a running request had to give its pages back. */
  preemptions: number;
  /** Steps run. */
  steps: number;
  /** Host restarts since the pool opened. */
  restarts: number;
  /** Bytes of GPU buffers alive. */
  gpuBytes: number;
  /** Bytes of weights, keys and values in CPU memory, where the native library computes the layers. */
  cpuBytes: number;
  /** Decoding over contexts in CPU memory; absent where the engine has none. */
  retrieval?: RetrievalLoad;
}

/** Text to tokens and back, answered by the model's host. */
export interface TokenizerService {
  /** The tokens of `text`. */
  tokenize(
    text: string,
    options?: { model?: string; addBos?: boolean; special?: boolean },
  ): Promise<number[]>;
  /** The text of `ids`. */
  detokenize(ids: number[], options?: { model?: string }): Promise<string>;
}

/**
 * The one interface through which server and graph reach engines. The pool of host processes implements it, so
 * does the in-process engine, and the simulator.
 */
export interface EnginePool extends TokenizerService, AsyncDisposable {
  /**
   * Models by name; resolves once every host has loaded or failed. A pool of several need not wait for others than the one named by `id`,
   * of which one engine is enough, nor tell of them.
   */
  models(id?: string): Promise<ModelInfo[]>;
  /**
   * Queues a generation. Throws `CapacityError` when the queue is full and `TypeError` for an unknown model, at once;
   * a bad prompt (`RangeError` when over-long) or a lost device (`DeviceLostError`) is thrown by the iterator.
   */
  submit(request: GenerateRequest): Generation;
  /** Leading tokens of `ids` that an engine holds in its prefix cache now. */
  cachedPrefix(ids: number[], options?: { model?: string; cacheScope?: string }): Promise<number>;
  /** One entry per engine. Cheap: the latest snapshot, no round trip. */
  load(): EngineLoad[];
}
