import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  GraphRequestError,
  GraphSession,
  input,
  output,
  semanticFunction,
} from "../../src/client/mod.ts";
import { ConstraintError } from "../../src/common/errors.ts";
import type { TextConstraint } from "../../src/engine/types.ts";
import { createApp } from "../../src/server/app.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

const constraints: TextConstraint[] = [
  { kind: "json_object" },
  { kind: "json_schema", schema: { type: "object", properties: { a: { type: "integer" } } } },
  { kind: "regex", pattern: "[0-9]+" },
  { kind: "choice", choices: ["yes", "no"] },
  { kind: "grammar", grammar: 'start: "a"' },
];

/** An application whose engine says `reply`. */
function serve(reply: string) {
  const pool = new FakeEnginePool({ reply: () => reply });
  const app = createApp({ pool, options: {} });
  return {
    pool,
    fetch: async (request: Request) => await app.fetch(request),
    async [Symbol.asyncDispose]() {
      await app.shutdown(0);
      await pool[Symbol.asyncDispose]();
    },
  };
}

Deno.test("GraphSession: constraints of outputs reach the engine as they were given", async () => {
  await using server = serve('{"a": 12}');
  await using session = new GraphSession({ fetch: server.fetch });
  for (const constraint of constraints) {
    const ask = semanticFunction`Say ${input("what")}: ${output("said", { constraint })}`;
    assertEquals(await session.call(ask, { what: "it" }).said.get(), '{"a": 12}');
    assertEquals(server.pool.requests.at(-1)!.constraint, constraint);
  }
  const free = semanticFunction`Say ${input("what")}: ${output("said")}`;
  await session.call(free, { what: "it" }).said.get();
  assertEquals(server.pool.requests.at(-1)!.constraint, undefined);
});

Deno.test("GraphSession: a constrained output that is cut short fails, and what reads it", async () => {
  await using server = serve('{"a": 12}');
  await using session = new GraphSession({ fetch: server.fetch });
  const options = { maxTokens: 3, constraint: constraints[0] };
  const ask = semanticFunction`Say ${input("what")}: ${output("said", options)}`;
  const pass = semanticFunction`Pass ${input("what")} on: ${output("said")}`;
  const { said } = session.call(ask, { what: "it" });
  const later = session.call(pass, { what: said }).said;
  const cut = "reached its 3 tokens before its text was whole";
  await assertRejects(() => said.get(), GraphRequestError, cut);
  await assertRejects(() => later.get(), GraphRequestError);
  // Without a constraint what there is of it counts.
  const short = semanticFunction`Say ${input("what")}: ${output("said", { maxTokens: 3 })}`;
  assertEquals(await session.call(short, { what: "it" }).said.get(), '{"a');
});

Deno.test("GraphSession: a constraint that cannot be kept is refused with its call", async () => {
  await using server = serve("a");
  await using session = new GraphSession({ fetch: server.fetch });
  const bad: TextConstraint = { kind: "json_schema", schema: { uniqueItems: true } };
  const ask = semanticFunction`Say ${input("what")}: ${output("said", { constraint: bad })}`;
  await assertRejects(
    () => session.call(ask, { what: "it" }).said.get(),
    GraphRequestError,
    'keyword "uniqueItems" at # is not supported',
  );
  assertEquals(server.pool.requests.length, 0);
});

Deno.test("output refuses a constraint that would be none on the wire", () => {
  for (const wrong of [{ kind: "other" }, { kind: "regex" }, { kind: "choice" }, "json"]) {
    assertThrows(
      () => output("said", { constraint: wrong as TextConstraint }),
      ConstraintError,
      `constraint is ${JSON.stringify(wrong)}, expected a kind of json_object`,
    );
  }
});
