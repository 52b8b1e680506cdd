import type { Rng } from "../../src/common/rng.ts";

/** What all clients of a soak have met. */
export class SoakTally {
  requests = 0;
  finished = 0;
  /** Left by the client, before or after the first token. */
  left = 0;
  /** Answered with 429 or 503. */
  refused = 0;
  tokens = 0;
  readonly firstTokenMs: number[] = [];
  /** Anything else, by what it said. */
  readonly errors: Record<string, number> = {};

  /** Counts an error. */
  error(what: string): void {
    this.errors[what] = (this.errors[what] ?? 0) + 1;
  }
}

/** What one client does. */
export interface SoakClientOptions {
  url: string;
  model: string;
  rng: Rng;
  /** When to stop, on the clock of `performance.now`. */
  end: number;
}

const openings = [
  "Once upon a time there was",
  "The old man walked down to the river and",
  "Write of the sea in the morning, and of the birds that",
  "In the beginning of the winter, when the snow",
];

/** Sends one request after the other; of three, one is left early. */
export async function soakClient(options: SoakClientOptions, tally: SoakTally): Promise<void> {
  while (performance.now() < options.end) {
    tally.requests++;
    const retryMs = await oneRequest(options, tally).catch((error) => {
      tally.error(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
      return 100;
    });
    const wait = Math.min(retryMs * (0.5 + options.rng.uniform()), options.end - performance.now());
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Resolves to the milliseconds to wait before the next request. */
async function oneRequest(
  { url, model, rng, end }: SoakClientOptions,
  tally: SoakTally,
): Promise<number> {
  // A shared opening, so that prefixes are shared; then what is this request's own.
  const prompt = openings[rng.integer(openings.length)].repeat(1 + rng.integer(3)) +
    ` ${rng.uint32()}`;
  const fate = rng.uniform();
  const leaveAfterMs = fate < 0.1 ? rng.integer(50) : Infinity;
  const leaveAfterTokens = fate >= 0.1 && fate < 0.33 ? 1 + rng.integer(20) : Infinity;
  const leave = new AbortController();
  const timers = [setTimeout(() => leave.abort(), Math.max(0, end - performance.now()) + 5000)];
  if (leaveAfterMs < Infinity) timers.push(setTimeout(() => leave.abort(), leaveAfterMs));
  const sent = performance.now();
  let tokens = 0;
  try {
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        model,
        prompt,
        stream: true,
        max_tokens: 8 + rng.integer(56),
        temperature: rng.uniform() < 0.5 ? 0 : 0.8,
        seed: rng.uint32(),
      }),
      signal: leave.signal,
    });
    if (response.status !== 200) {
      const body = await response.text();
      if (response.status !== 429 && response.status !== 503) {
        tally.error(`status ${response.status}: ${body}`);
        return 100;
      }
      tally.refused++;
      const seconds = Number(response.headers.get("Retry-After"));
      if (!(seconds > 0)) tally.error(`status ${response.status} without Retry-After`);
      return seconds * 1000;
    }
    let done = false;
    for await (const data of eventData(response)) {
      if (data === "[DONE]") {
        done = true;
        break;
      }
      const event = JSON.parse(data);
      if (event.error) {
        tally.error(`in a stream: ${event.error.message}`);
        return 100;
      }
      if (event.choices[0].text === "") continue;
      if (tokens++ === 0) tally.firstTokenMs.push(performance.now() - sent);
      tally.tokens++;
      if (tokens >= leaveAfterTokens) {
        tally.left++;
        return 0;
      }
    }
    if (done) tally.finished++;
    else tally.error("a stream ended without [DONE]");
    return 0;
  } catch (error) {
    if (!leave.signal.aborted) throw error;
    tally.left++;
    return 0;
  } finally {
    timers.forEach(clearTimeout);
    leave.abort();
  }
}

async function* eventData(response: Response): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop() as string;
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield block.slice("data: ".length);
    }
  }
}
