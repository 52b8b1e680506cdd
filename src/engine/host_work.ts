import { asError } from "../common/as_error.ts";
import { CapacityError } from "../common/errors.ts";
import { fromErrorWire } from "./error_wire.ts";
import { GenerationStream } from "./generation_stream.ts";
import type { FromHost, HostCall, HostEvent, ToHost } from "./host_messages.ts";
import { mayWait } from "./may_wait.ts";
import { noUsage } from "./no_usage.ts";
import { RetryEstimate } from "./retry_estimate.ts";
import type { GenerateRequest, Generation } from "./types.ts";

/** A request on its way through a host. */
interface Tracked {
  request: GenerateRequest;
  stream: GenerationStream;
  sent: boolean;
  started: boolean;
  /** Text or tokens have reached the caller, so it cannot be run again. */
  delivered: boolean;
  retried: boolean;
  cancelled: boolean;
}

interface PendingCall {
  question: HostCall;
  sent: boolean;
  retried: boolean;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** Sends a message to the host that is ready. */
type Send = (message: ToHost) => void;

/**
 * What was asked of a host and is not yet answered. It outlives the host: what a dead one had not begun to answer
 * is sent to the next, once.
 */
export class HostWork {
  readonly #id: string;
  readonly #maxWaiting: number;
  readonly #requests = new Map<string, Tracked>();
  readonly #calls = new Map<number, PendingCall>();
  readonly #retry = new RetryEstimate();
  /** Absent while no host is ready. */
  #send: Send | undefined;
  #failure: Error | undefined;
  #waiting = 0;
  #nextCall = 0;

  /** `id` names the model in messages; of requests that wait for their first step at most `maxWaiting` are taken, but for a few of scopes that have few. */
  constructor(id: string, maxWaiting: number) {
    this.#id = id;
    this.#maxWaiting = maxWaiting;
  }

  /** Requests that wait for their first step. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Requests past their first step. */
  get running(): number {
    return this.#requests.size - this.#waiting;
  }

  /** Whether anything is unanswered. */
  get busy(): boolean {
    return this.#requests.size + this.#calls.size > 0;
  }

  /** Queues a generation. Throws `CapacityError` when too many wait and `TypeError` for an id in use. */
  submit(request: GenerateRequest): Generation {
    if (this.#requests.has(request.id)) {
      throw new TypeError(`request ${request.id} is already running`);
    }
    if (this.#waiting >= this.#maxWaiting && !this.#mayWait(request.cacheScope ?? "")) {
      throw new CapacityError(
        `${this.#waiting} requests wait for ${this.#id}, at most ${this.#maxWaiting} may`,
        this.#retry.seconds(this.#waiting),
      );
    }
    const stream = new GenerationStream(request.id, () => this.#cancel(tracked));
    const tracked: Tracked = {
      request,
      stream,
      sent: false,
      started: false,
      delivered: false,
      retried: false,
      cancelled: false,
    };
    if (this.#failure) {
      stream.fail(this.#failure);
      return stream;
    }
    this.#requests.set(request.id, tracked);
    this.#waiting++;
    if (this.#send) this.#sendRequest(tracked, this.#send);
    return stream;
  }

  #mayWait(scope: string): boolean {
    const waiting = [...this.#requests.values()].filter(({ started }) => !started);
    return mayWait(waiting.map(({ request }) => request.cacheScope ?? ""), scope, this.#maxWaiting);
  }

  /** Asks; waits for a host when none is ready. */
  ask(question: HostCall): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const call = this.#nextCall++;
      this.#calls.set(call, { question, sent: false, retried: false, resolve, reject });
      if (this.#send) this.#sendCall(call, this.#send);
    });
  }

  /** A host is ready: sends it everything that waits for one. */
  connect(send: Send): void {
    this.#send = send;
    for (const tracked of [...this.#requests.values()]) this.#sendRequest(tracked, send);
    for (const call of [...this.#calls.keys()]) this.#sendCall(call, send);
  }

  /** The host has died: what can run again waits for the next one, the rest fails with `error`. */
  disconnect(error: Error): void {
    this.#send = undefined;
    for (const tracked of [...this.#requests.values()]) {
      if (tracked.cancelled) this.#finishCancelled(tracked);
      else if (!tracked.sent) continue;
      else if (tracked.delivered || tracked.retried) this.#fail(tracked, error);
      else {
        tracked.sent = false;
        tracked.retried = true;
      }
    }
    for (const [id, call] of this.#calls) {
      if (!call.sent) continue;
      if (call.retried) {
        this.#calls.delete(id);
        call.reject(error);
      } else {
        call.sent = false;
        call.retried = true;
      }
    }
  }

  /** There will be no host again: everything fails with `error`, now and from now on, or ends as cancelled. */
  close(error: Error, cancelled: boolean): void {
    this.#send = undefined;
    this.#failure = error;
    for (const tracked of [...this.#requests.values()]) {
      if (tracked.cancelled || cancelled) this.#finishCancelled(tracked);
      else this.#fail(tracked, error);
    }
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }

  /** Takes the answer to a call. */
  onAnswer(message: Extract<FromHost, { type: "reply" | "refusal" }>): void {
    const call = this.#calls.get(message.call);
    this.#calls.delete(message.call);
    if (message.type === "reply") call?.resolve(message.value);
    else call?.reject(fromErrorWire(message.error));
  }

  /** Takes an event of a generation. */
  onEvent([id, event]: HostEvent): void {
    const tracked = this.#requests.get(id);
    if (!tracked) return;
    if (event.type === "failed") return this.#fail(tracked, fromErrorWire(event.error));
    if (event.type === "started") {
      if (tracked.started) return;
      tracked.started = true;
      this.#waiting--;
    } else if (event.type === "finished") this.#forget(tracked);
    else if (event.type !== "reading") tracked.delivered = true;
    tracked.stream.event(event);
  }

  #sendRequest(tracked: Tracked, send: Send): void {
    tracked.sent = true;
    try {
      send({ type: "submit", request: tracked.request });
    } catch (error) {
      // Too large to be sent, or not JSON.
      this.#fail(tracked, asError(error));
    }
  }

  #sendCall(call: number, send: Send): void {
    const pending = this.#calls.get(call)!;
    pending.sent = true;
    try {
      send({ type: "call", call, question: pending.question });
    } catch (error) {
      // As above: it must not pass for unanswered, for which a host is killed.
      this.#calls.delete(call);
      pending.reject(asError(error));
    }
  }

  #cancel(tracked: Tracked): void {
    if (this.#requests.get(tracked.request.id) !== tracked) return;
    tracked.cancelled = true;
    if (!tracked.sent) this.#finishCancelled(tracked);
    else this.#send?.({ type: "cancel", id: tracked.request.id });
  }

  #finishCancelled(tracked: Tracked): void {
    this.#forget(tracked);
    tracked.stream.event({ type: "finished", reason: "cancelled", usage: noUsage });
  }

  #fail(tracked: Tracked, error: Error): void {
    this.#forget(tracked);
    tracked.stream.fail(error);
  }

  #forget(tracked: Tracked): void {
    if (!this.#requests.delete(tracked.request.id)) return;
    if (!tracked.started) this.#waiting--;
    this.#retry.finished(performance.now());
  }
}
