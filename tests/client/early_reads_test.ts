import { assert, assertEquals, assertRejects } from "@std/assert";
import { GraphRequestError, GraphSession } from "../../src/client/mod.ts";
import { input, output, semanticFunction } from "../../src/client/mod.ts";
import { type ParrotServer, startParrot } from "../server/parrot_support.ts";

const echo = semanticFunction`Say ${input("text")}: ${output("said", { maxTokens: 64 })}`;

/** A client whose requests are noted, and whose answers may be cut off after so many events. */
function spy(server: ParrotServer, events = Infinity) {
  const seen: string[] = [];
  const spied = { seen, released: 0 };
  const fetch = async (request: Request) => {
    seen.push(`${request.method} ${new URL(request.url).pathname.replace(/[0-9a-f-]{36}/, "ID")}`);
    const answer = await server.fetch(request);
    const stream = answer.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (!stream || request.method !== "POST" || !answer.body) return answer;
    return new Response(cut(answer.body, events, () => spied.released++), answer);
  };
  return Object.assign(spied, { fetch });
}

/** The first `events` events of a stream, then a broken connection. */
function cut(
  body: ReadableStream<Uint8Array>,
  events: number,
  released: () => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = events;
  return new ReadableStream({
    async pull(controller) {
      if (left-- <= 0) {
        await reader.cancel();
        return controller.error(new TypeError("connection reset"));
      }
      const { value, done } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => {
      released();
      return reader.cancel(reason);
    },
  });
}

Deno.test("a graph and all that is read of it in one turn take one request, each value when it is there", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `<${prompt}>` });
  const { seen, fetch } = spy(server);
  await using session = new GraphSession({ fetch });
  const order: string[] = [];
  const first = session.call(echo, { text: "a" }).said;
  const second = session.call(echo, { text: first }).said;
  const pieces: string[] = [];
  await Promise.all([
    second.get().then((value) => order.push(value)),
    first.get().then((value) => order.push(value)),
    (async () => {
      for await (const piece of session.call(echo, { text: "b" }).said.stream()) pieces.push(piece);
    })(),
  ]);
  assertEquals(order, ["<Say a: >", "<Say <Say a: >: >"]);
  assert(pieces.length > 1 && pieces.join("") === "<Say b: >", JSON.stringify(pieces));
  assertEquals(seen, ["POST /v1/apps"]);
  // A second reader of the same variable, and one of a later turn, ask by themselves.
  const third = session.call(echo, { text: "c" }).said;
  assertEquals(await Promise.all([third.get(), third.get()]), ["<Say c: >", "<Say c: >"]);
  assertEquals(seen.slice(1), ["POST /v1/apps", "GET /v1/semantic_var/ID"]);
});

Deno.test("one read that fails says why, and the others get their values", async () => {
  await using server = await startParrot({}, {
    answer: () => "fine",
    fault: (prompt) => prompt.includes("bad") ? new RangeError("too long") : undefined,
  });
  const { seen, fetch } = spy(server);
  await using session = new GraphSession({ fetch });
  const bad = session.call(echo, { text: "bad" }).said;
  const good = session.call(echo, { text: "good" }).said;
  const [error, value] = await Promise.all([
    assertRejects(() => bad.get(), GraphRequestError, "too long"),
    good.get(),
  ]);
  assertEquals([error.status >= 400, value], [true, "fine"]);
  assertEquals(seen, ["POST /v1/apps"]);
});

Deno.test("an answer that breaks off is asked for again, and a stream goes on where it was", async () => {
  await using server = await startParrot({}, { answer: () => "one two three four five six" });
  for (const events of [1, 2, 4]) {
    const { seen, fetch } = spy(server, events);
    await using session = new GraphSession({ fetch });
    const value = session.call(echo, { text: "x" }).said.get();
    let streamed = "";
    for await (const piece of session.call(echo, { text: "y" }).said.stream()) streamed += piece;
    assertEquals(streamed, "one two three four five six", `${events} events`);
    assertEquals(await value, "one two three four five six");
    assert(seen.includes("GET /v1/semantic_var/ID/stream"), seen.join());
  }
});

Deno.test("a reader that gives up leaves the graph and the other readers alone", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `<${prompt}>` });
  const spied = spy(server);
  const { seen, fetch } = spied;
  await using session = new GraphSession({ fetch });
  const [given, kept] = ["a", "b"].map((text) => session.call(echo, { text }).said);
  const leave = new AbortController();
  const gone = given.get({ signal: leave.signal });
  const value = kept.get();
  leave.abort(new Error("enough"));
  await assertRejects(() => gone, Error, "enough");
  assertEquals(await value, "<Say b: >");
  assertEquals(await given.get(), "<Say a: >");
  assertEquals(spied.released, 0);
  // The only reader of another request gives up before that is answered: the variable is made all the same.
  const alone = session.call(echo, { text: "c" }).said;
  const other = new AbortController();
  const lost = alone.get({ signal: other.signal });
  session.flushed();
  await Promise.resolve();
  other.abort(new Error("enough"));
  await assertRejects(() => lost, Error, "enough");
  assertEquals(await alone.get(), "<Say c: >");
  assertEquals(spied.released, 1);
  for await (const _ of session.call(echo, { text: "d" }).said.stream()) break;
  await session.flushed();
  assertEquals(spied.released, 2);
  assertEquals(seen.filter((request) => request.startsWith("POST")).length, 3);
});

Deno.test("readers that have their values listen to their signal no longer", async () => {
  await using server = await startParrot({}, { answer: (prompt) => `<${prompt}>` });
  const { fetch } = spy(server);
  await using session = new GraphSession({ fetch });
  const { signal } = new AbortController();
  const listening = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
    listening.add(args[1]);
    addEventListener.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
    listening.delete(args[1]);
    removeEventListener.apply(signal, args);
  };
  const texts = ["a", "b", "c"];
  await Promise.all(texts.map((text) => session.call(echo, { text }).said.get({ signal })));
  for await (const _ of session.call(echo, { text: "d" }).said.stream({ signal }));
  for await (const _ of session.call(echo, { text: "e" }).said.stream({ signal })) break;
  assertEquals(listening.size, 0);
});

Deno.test("POST /v1/apps refuses reads that it cannot give, before it answers", async () => {
  await using server = await startParrot();
  const post = async (reads: unknown) => {
    const body = JSON.stringify({ variables: [{ ref: "a", content: "x" }], reads });
    const headers = { "Content-Type": "application/json" };
    const answer = await server.fetch(
      new Request("http://127.0.0.1/v1/apps", { method: "POST", headers, body }),
    );
    return [answer.status, await answer.text()] as const;
  };
  const [status, events] = await post([{ ref: "a" }]);
  assertEquals(status, 200);
  assertEquals(events.split("\n\n").slice(1, 3).map((event) => JSON.parse(event.slice(6))), [
    { ref: "a", content: "x" },
    { done: true },
  ]);
  for (
    const [reads, expected, word] of [
      [[{ ref: "b" }], 404, "reads: no variable has ref b"],
      [[{ ref: "a", criteria: "soon" }], 400, "criteria"],
      [[{}], 400, "ref"],
      [Array.from({ length: 257 }, () => ({ ref: "a" })), 400, "reads"],
    ] as const
  ) {
    const [status, text] = await post(reads);
    assertEquals(status, expected, text);
    assert(text.includes(word), text);
  }
});
