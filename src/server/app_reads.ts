import type { Criteria } from "../graph/criteria.ts";
import type { SemanticVariable } from "../graph/semantic_variable.ts";
import { mergeStreams } from "./merge_streams.ts";
import { parrotError } from "./parrot_errors.ts";
import { sseData } from "./sse.ts";

/** A variable that is read in the request which submits its graph. */
export interface AppRead {
  ref: string;
  variable: SemanticVariable;
  criteria: Criteria;
  /** In pieces as it is produced, instead of once it is there. */
  stream: boolean;
}

/**
 * The answer to a submission whose client reads of it: first what a submission is answered with otherwise, then what becomes known of each
 * variable, and `{"done": true}`. So a client that wants a value pays one round trip for the whole application.
 *
 * A value is `{ref, content}`; a streamed one `{ref, text}` for each piece and `{ref, done: true}`; a failure `{ref, error, status}`, where
 * the status is what reading that variable alone would be answered with.
 */
export async function* appReads(
  submitted: unknown,
  reads: readonly AppRead[],
  signal: AbortSignal,
): AsyncGenerator<string, void, void> {
  yield sseData(submitted);
  for await (const [event] of mergeStreams(reads.map((read) => eventsOf(read, signal)))) {
    yield sseData(event);
  }
  yield sseData({ done: true });
}

async function* eventsOf(
  { ref, variable, stream }: AppRead,
  signal: AbortSignal,
): AsyncGenerator<Record<string, unknown>, void, void> {
  try {
    if (stream) {
      for await (const text of variable.stream(signal)) yield { ref, text };
      yield { ref, done: true };
    } else yield { ref, content: await variable.wait(signal) };
  } catch (error) {
    const { status, body } = parrotError(error);
    yield { ref, error: body.error, status };
  }
}
