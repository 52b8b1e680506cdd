import type { Generation } from "../engine/types.ts";
import { ApiError, type ApiErrorBody } from "./api_error.ts";
import { sumUsage } from "./choices.ts";
import { notCancelled } from "./generation_answer.ts";
import type { ResponseShape } from "./response_shape.ts";
import type { ResponseStore, StoredResponse } from "./response_store.ts";
import type { ResponseObject } from "./responses_schema.ts";
import { streamError } from "./stream_error.ts";

/** Responses of one key at most that are queued or in progress in the background: nobody's leaving ends them. */
const mostOfTenant = 64;

interface Job {
  tenant: string;
  input: StoredResponse["input"];
  shape: ResponseShape;
  generation: Generation;
  status: "queued" | "in_progress";
}

/** Responses that are made while nobody waits, each for the key that asked for it. What ends, whichever way, goes to the store, unless it is forgotten. */
export class BackgroundResponses {
  readonly #store: ResponseStore;
  readonly #jobs = new Map<string, Job>();

  constructor(store: ResponseStore) {
    this.#store = store;
  }

  /** Throws `ApiError` 429 when a key has as many under way as it may. */
  checkRoom(tenant: string): void {
    let running = 0;
    for (const job of this.#jobs.values()) if (job.tenant === tenant) running++;
    if (running < mostOfTenant) return;
    throw new ApiError(
      `${running} responses are under way in the background, at most ${mostOfTenant} may be`,
      {
        status: 429,
        type: "rate_limit_error",
        code: "too_many_background_responses",
        retryAfterSeconds: 5,
      },
    );
  }

  /** Takes a generation to its end; returns the response as it stands, queued. */
  start(id: string, job: Omit<Job, "status">): ResponseObject {
    const started: Job = { ...job, status: "queued" };
    this.#jobs.set(id, started);
    this.#run(id, started);
    return job.shape.now("queued");
  }

  /** A response that is under way, if it is the tenant's. */
  get(tenant: string, id: string): StoredResponse | undefined {
    const job = this.#jobs.get(id);
    if (job?.tenant !== tenant) return undefined;
    return { response: job.shape.now(job.status), input: job.input };
  }

  /** Stops a response of the tenant's that is under way; one that is not stays as it is. */
  cancel(tenant: string, id: string): void {
    const job = this.#jobs.get(id);
    if (job?.tenant !== tenant) return;
    this.#stop(id, job, "cancelled");
    job.generation.cancel();
  }

  /** Stops a response of the tenant's that is under way, and keeps nothing of it. */
  forget(tenant: string, id: string): void {
    const job = this.#jobs.get(id);
    if (job?.tenant !== tenant) return;
    this.#jobs.delete(id);
    job.generation.cancel();
  }

  async #run(id: string, job: Job): Promise<void> {
    const { generation, shape } = job;
    try {
      for await (const event of generation) {
        if (!this.#jobs.has(id)) return;
        if (event.type === "started") job.status = "in_progress";
        if (event.type === "delta") shape.delta(event, 0);
        if (event.type !== "finished") continue;
        shape.end(notCancelled(event.reason), 0, event.end);
        this.#end(id, job, shape.ended(sumUsage([event.usage], 1)));
      }
    } catch (error) {
      if (this.#jobs.has(id)) this.#stop(id, job, "failed", streamError(error));
    }
  }

  #stop(id: string, job: Job, status: "cancelled" | "failed", error?: ApiErrorBody): void {
    const { shape } = job;
    if (shape.now(status).output.length > 0) shape.end("length", 0);
    this.#end(id, job, shape.now(status, error));
  }

  #end(id: string, { tenant, input }: Job, response: ResponseObject): void {
    this.#jobs.delete(id);
    this.#store.put(tenant, { response, input });
  }
}
