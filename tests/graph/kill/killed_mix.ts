import { type Reply, sendRaw } from "../../server/parrot_support.ts";
import { Rng } from "../../../src/common/rng.ts";

/** What a run of the mix came to. */
export interface KilledMix {
  kills: number;
  /** Values of every application's outputs, in order. */
  results: string[][];
  /** Variables whose setting was acknowledged, and that were gone or different later. */
  lost: number;
  /** Reads that took longer than the deadline. */
  hung: number;
  /** Longest read in milliseconds, restarts included. */
  longestReadMs: number;
}

/** How the mix is run. */
export interface KilledMixOptions {
  port: number;
  store: string;
  /** Applications, one after the other in each of four clients. */
  applications: number;
  kills: number;
  /** Milliseconds that any read may take. */
  deadlineMs: number;
  seed: number;
}

/** Runs applications against a server that is killed at random moments and started again. */
export async function killedMix(options: KilledMixOptions): Promise<KilledMix> {
  const base = `http://127.0.0.1:${options.port}`;
  const outcome: KilledMix = { kills: 0, results: [], lost: 0, hung: 0, longestReadMs: 0 };
  const rng = new Rng(options.seed);
  let server = await start(options);
  let done = false;
  const clients = Promise.all(
    Array.from({ length: 4 }, async (_, client) => {
      for (let i = client; i < options.applications; i += 4) {
        outcome.results[i] = await application(base, i, options.deadlineMs, outcome);
      }
    }),
  ).finally(() => done = true);
  clients.catch(() => {});
  while (outcome.kills < options.kills && !done) {
    await new Promise((resolve) => setTimeout(resolve, 30 + rng.integer(350)));
    server.kill("SIGKILL");
    await server.status;
    outcome.kills++;
    server = await start(options);
  }
  await clients;
  server.kill("SIGKILL");
  await server.status;
  return outcome;
}

async function start({ port, store }: KilledMixOptions): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("./server.ts", import.meta.url).pathname,
      String(port),
      store,
    ],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  if (new TextDecoder().decode(value).trim() !== "ready") {
    throw new Error("the server did not start");
  }
  // The pipe's other end must stay open, and nothing more comes.
  reader.read().then(() => reader.releaseLock(), () => {});
  return child;
}

/** Sends until an answer comes, as a client does that reconnects. */
async function persist(base: string, method: string, path: string, body: unknown): Promise<Reply> {
  for (let tries = 0; tries < 400; tries++) {
    try {
      return await sendRaw(base, method, path, body);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error(`${method} ${path}: no server for 20 s`);
}

/** A chain behind a call with two outputs and a variable that its client sets late; resolves to all values. */
async function application(
  base: string,
  number: number,
  deadlineMs: number,
  outcome: KilledMix,
): Promise<string[]> {
  const { session_id, session_auth } = (await persist(base, "POST", "/v1/session", {})).json;
  const key = { session_id, session_auth };
  const made =
    (await persist(base, "POST", "/v1/semantic_var", { ...key, var_name: "topic" })).json;
  const input = (name: string, var_id: string) => ({ name, is_output: false, var_id });
  const output = (name: string, tokens: number) => ({
    name,
    is_output: true,
    sampling_config: { temperature: 0, max_gen_length: tokens },
  });
  const call = async (template: string, parameters: unknown[]) =>
    (await persist(base, "POST", "/v1/semantic_call", {
      ...key,
      template,
      parameters,
      output_criteria: "throughput",
    }))
      .json.param_info.map((info: { var_id: string }) => info.var_id) as string[];
  const [, a, b] = await call("On {{topic}}: {{a}} and then {{b}}", [
    input("topic", made.var_id),
    output("a", 12),
    output("b", 9),
  ]);
  let last = b;
  for (let step = 0; step < 3; step++) {
    [, , last] = await call(`Step ${step} of {{x}} with {{y}}: {{z}}`, [
      input("x", last),
      input("y", a),
      output("z", 10),
    ]);
  }
  const content = `topic ${number}`;
  const path = `/v1/semantic_var/${made.var_id}`;
  const set = await persist(base, "POST", path, { ...key, content });
  // After a kill between commit and answer, the repeated request finds the variable set: that is an answer too.
  if (set.status !== 200 && set.status !== 409) throw new Error(`set: ${JSON.stringify(set.json)}`);
  const values: string[] = [];
  for (const id of [a, b, last]) {
    const begin = performance.now();
    const reply = await persist(base, "GET", `/v1/semantic_var/${id}`, {
      ...key,
      criteria: "latency",
    });
    const ms = performance.now() - begin;
    outcome.longestReadMs = Math.max(outcome.longestReadMs, ms);
    if (ms > deadlineMs) outcome.hung++;
    values.push(reply.status === 200 ? reply.json.content : `error ${reply.json.error}`);
  }
  const kept = await persist(base, "GET", path, { ...key, criteria: "latency" });
  if (kept.json.content !== content) outcome.lost++;
  const again = await persist(base, "GET", `/v1/semantic_var/${a}`, {
    ...key,
    criteria: "latency",
  });
  if (again.json.content !== values[0]) outcome.lost++;
  return values;
}
