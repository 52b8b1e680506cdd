import { toStructuredOutputs } from "../constraint/structured_outputs.ts";
import type { Criteria } from "../graph/criteria.ts";
import type { SessionDescription } from "../graph/describe_session.ts";
import type { UpscaleOptions } from "../graph/node.ts";
import type { Transform } from "../graph/transform.ts";
import { EarlyReads } from "./early_reads.ts";
import { type GraphClientOptions, GraphRequestError, GraphTransport } from "./graph_transport.ts";
import { RemoteVariable, type VariableHome } from "./remote_variable.ts";
import type { OutputOptions, SemanticFunction } from "./semantic_function.ts";
import { serverSentEvents } from "./server_sent_events.ts";

/** What a call's input may be: text, or a variable that has, or will have, a value. */
export type InputValue = string | RemoteVariable;

/** Options of one call. */
export interface CallOptions {
  /** Models that may run it. Default: any. */
  models?: string[];
  /** Milliseconds after which outputs that are not there fail. */
  deadlineMs?: number;
  /** Start at once, for this; otherwise the call runs when something it feeds is read. */
  criteria?: Criteria;
}

interface Batch {
  variables: { ref: string; name: string; content?: string }[];
  calls: Record<string, unknown>[];
  outputs: Record<string, Criteria>;
  made: Set<RemoteVariable>;
  reads: EarlyReads;
  /** Settles when the server has answered it. */
  sent?: Promise<void>;
}

/**
 * A session of semantic variables. Calls are gathered and reach the server together, whole graphs in one request,
 * as soon as the current turn of the event loop ends; what is read in the same turn comes with the answer. Dispose of it to free what it
 * holds.
 */
export class GraphSession implements AsyncDisposable {
  /** The connection to the server. */
  readonly transport: GraphTransport;
  #batch: Batch | undefined;
  /** Settles when the server has answered all batches; rejects with a refusal that `flushed` has not told yet. */
  #sending: Promise<void> = Promise.resolve();
  #session: { id: number; auth: string } | undefined;
  #closed = false;
  #refs = 0;
  /** Its variables, and what they were, or are to be, sent with. */
  readonly #batches = new WeakMap<RemoteVariable, Batch>();
  /** What its variables need of the session, which is more than its users see. */
  readonly #home: VariableHome;

  /** A session with the server at `options.url`; it is opened with the first request. */
  constructor(options: GraphClientOptions = {}) {
    this.transport = new GraphTransport(options);
    this.#home = {
      transport: this.transport,
      credentials: () => this.credentials(),
      sent: (variable) => {
        this.#checkOpen();
        this.#flush();
        return this.#batches.get(variable)?.sent;
      },
      readEarly: (variable, options) => {
        const batch = this.#batch;
        return batch?.made.has(variable) ? batch.reads.add(variable.ref, options) : undefined;
      },
    };
  }

  /** The server's number for it, once something was sent. */
  get id(): number | undefined {
    return this.#session?.id;
  }

  /** A variable with a value, or, without `content`, one to be given its value later, by its `set`. Throws `TypeError` after disposal. */
  variable(name: string, content?: string): RemoteVariable {
    const variable = this.#make(name);
    this.#open().variables.push({ ref: variable.ref, name, content });
    return variable;
  }

  /**
   * Calls a semantic function; its outputs can be passed on, and read, at once.
   * @throws {TypeError} for an input that is missing, neither text nor a variable, or a variable of another session, and after disposal.
   */
  call<Input extends string, Output extends string>(
    semantic: SemanticFunction<Input, Output>,
    inputs: Record<Input, InputValue>,
    options: CallOptions = {},
  ): Record<Output, RemoteVariable> {
    const outputs = {} as Record<Output, RemoteVariable>;
    const parameters: Record<string, unknown>[] = [];
    for (const [name, slot] of semantic.inputs) {
      const value = inputs[name];
      if (value === undefined) throw new TypeError(`call: input ${name} is missing`);
      parameters.push({
        name,
        is_output: false,
        ...this.#source(name, value),
        transforms: slot.transforms,
      });
    }
    for (const [name, slot] of semantic.outputs) {
      const variable = this.#make(name);
      outputs[name] = variable;
      parameters.push({
        name,
        is_output: true,
        ref: variable.ref,
        sampling_config: samplingConfig(slot.options),
        transforms: slot.options.transforms,
      });
      if (options.criteria) this.#open().outputs[variable.ref] = options.criteria;
    }
    this.#open().calls.push({
      template: semantic.template,
      parameters,
      models: options.models ?? [],
      deadline_ms: options.deadlineMs,
    });
    return outputs;
  }

  /** A variable that holds another one after `transforms`, which the server applies. Throws as `call`. */
  transform(source: RemoteVariable, transforms: Transform[]): RemoteVariable {
    return this.#unary("transform", source, { transforms });
  }

  /** An image variable that holds another one enlarged. Throws as `call`. */
  upscale(source: RemoteVariable, options: UpscaleOptions): RemoteVariable {
    return this.#unary("upscale", source, { options });
  }

  /** The graph so far: states, criteria, timings, prefix hits. */
  async describe(): Promise<SessionDescription> {
    await this.flushed();
    const { session_id, ...query } = this.credentials();
    return await (await this.transport.send("GET", `/v1/apps/${session_id}`, { query })).json();
  }

  /** What a request carries to be let in. */
  credentials(): Record<string, string> {
    this.#checkOpen();
    if (!this.#session) throw new Error("The session is not open yet: nothing was sent");
    return { session_id: String(this.#session.id), session_auth: this.#session.auth };
  }

  /**
   * Resolves when everything asked for so far has reached the server; rejects when the server refused some of it, which is told once: what
   * comes after goes on without it.
   */
  flushed(): Promise<void> {
    this.#flush();
    const sending = this.#sending;
    this.#sending = sending.catch(() => {});
    return sending;
  }

  /** Ends the session in the server; unfinished work stops, and its readers are told. Idempotent, and no failure where there is no server any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#batch?.reads.end(disposed());
    this.#batch = undefined;
    await this.#sending.catch(() => {});
    if (!this.#session) return;
    const { id, auth } = this.#session;
    this.#session = undefined;
    const json = { session_auth: auth };
    try {
      await (await this.transport.send("DELETE", `/v1/session/${id}`, { json })).body?.cancel();
    } catch (error) {
      // It has ended, or will by itself; what failed in its scope must not be hidden by this.
      if (!(error instanceof GraphRequestError || error instanceof TypeError)) throw error;
    }
  }

  #unary(kind: string, source: RemoteVariable, rest: Record<string, unknown>): RemoteVariable {
    const variable = this.#make(source.name);
    this.#open().calls.push({
      kind,
      ...rest,
      parameters: [
        { name: "source", is_output: false, ...this.#source("source", source) },
        { name: "result", is_output: true, ref: variable.ref },
      ],
    });
    return variable;
  }

  #source(input: string, value: InputValue): Record<string, unknown> {
    if (typeof value === "string") return { value };
    if (!(value instanceof RemoteVariable)) {
      throw new TypeError(`call: input ${input} is ${value}, expected a text or a variable`);
    }
    // Refs count within a session: the same one names something else here.
    if (!this.#batches.has(value)) {
      throw new TypeError(
        `call: input ${input} is the variable ${value.name} of another session; expected one of this session, or its text`,
      );
    }
    return value.id === undefined ? { ref: value.ref } : { var_id: value.id };
  }

  #checkOpen(): void {
    if (this.#closed) throw disposed();
  }

  #make(name: string): RemoteVariable {
    this.#checkOpen();
    const variable = new RemoteVariable(this.#home, name, `${name}#${this.#refs++}`);
    const batch = this.#open();
    this.#batches.set(variable, batch);
    batch.made.add(variable);
    return variable;
  }

  #open(): Batch {
    if (!this.#batch) {
      const reads = new EarlyReads();
      this.#batch = { variables: [], calls: [], outputs: {}, made: new Set(), reads };
      queueMicrotask(() => this.#flush());
    }
    return this.#batch;
  }

  #flush(): void {
    const batch = this.#batch;
    if (!batch) return;
    this.#batch = undefined;
    const earlier = this.#sending;
    const send = () => this.#send(batch);
    const sent = earlier.then(send, send);
    sent.catch((error) => batch.reads.end(error));
    batch.sent = sent;
    this.#sending = sent.then(() => earlier);
    // Whoever reads a variable is told; nobody else has to be.
    this.#sending.catch(() => {});
  }

  async #send({ variables, calls, outputs, made, reads }: Batch): Promise<void> {
    const known = this.#session;
    // Calls written while an earlier batch was under way named its variables by ref; they have ids by now.
    const json = {
      ...(known ? { session_id: known.id, session_auth: known.auth } : {}),
      variables,
      calls: known ? calls.map((call) => this.#withIds(call)) : calls,
      outputs,
      ...(reads.size > 0 ? { reads } : {}),
    };
    const response = await this.transport.send("POST", "/v1/apps", { json });
    const streamed = response.headers.get("Content-Type")?.startsWith("text/event-stream");
    const release = new AbortController();
    const events = streamed && response.body
      ? serverSentEvents(response.body, release.signal)
      : undefined;
    const answer = events ? await firstEvent(events) : await response.json();
    this.#session = { id: answer.session_id, auth: answer.session_auth };
    for (const variable of made) {
      variable.id = answer.variables[variable.ref];
      this.#ids.set(variable.ref, variable.id!);
    }
    if (events) reads.follow(events, () => release.abort());
    else reads.end();
  }

  readonly #ids = new Map<string, string>();

  #withIds(call: Record<string, unknown>): Record<string, unknown> {
    const parameters = (call.parameters as Record<string, unknown>[]).map((parameter) => {
      const id = typeof parameter.ref === "string" ? this.#ids.get(parameter.ref) : undefined;
      if (id === undefined) return parameter;
      const { ref: _, ...rest } = parameter;
      return { ...rest, var_id: id };
    });
    return { ...call, parameters };
  }
}

function disposed(): TypeError {
  return new TypeError("This graph session was disposed of and cannot be used.");
}

async function firstEvent(events: AsyncGenerator<string, void, void>) {
  const { value, done } = await events.next();
  if (done) throw new TypeError("POST /v1/apps: the answer ended before it began");
  return JSON.parse(value);
}

function samplingConfig(options: OutputOptions): Record<string, unknown> {
  return {
    temperature: options.temperature ?? 0,
    max_gen_length: options.maxTokens ?? 512,
    top_p: options.topP ?? 1,
    top_k: options.topK ?? 0,
    ...(options.seed === undefined ? {} : { seed: options.seed }),
    ...(options.stop === undefined ? {} : { stop_str: options.stop }),
    ignore_tokenizer_eos: options.ignoreEos ?? false,
    ...(options.constraint === undefined
      ? {}
      : { structured_outputs: toStructuredOutputs(options.constraint) }),
  };
}
