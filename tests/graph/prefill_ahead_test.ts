import { assertEquals } from "@std/assert";
import type { GenerateRequest } from "../../src/engine/types.ts";
import type { SimulatedPool } from "../../src/graph/sim/simulated_pool.ts";
import { call, input, openWorld, output, submit } from "./support.ts";

/** The prompts that are filled ahead while `run` runs, as text. */
async function filledAhead(
  run: (world: ReturnType<typeof openWorld>) => Promise<unknown>,
): Promise<string[]> {
  await using world = openWorld();
  const fills: string[] = [];
  const submitToPool = world.pool.submit;
  world.pool.submit = function (this: SimulatedPool, request: GenerateRequest) {
    if (request.id.startsWith("ahead-")) fills.push(textOf(request));
    return submitToPool.call(this, request);
  };
  await run(world);
  return fills;
}

function textOf({ prompt }: GenerateRequest): string {
  if (prompt.type !== "parts") return "";
  return prompt.parts.map((part) => part.type === "text" ? part.text : "").join("");
}

const own = (letter: string, chars: number) => letter.repeat(chars);

/** A producer whose prompt is `first`, and a reader of its output for each of `befores`, whose prompts begin so. */
const readers = (first: string, befores: string[]) => (world: ReturnType<typeof openWorld>) => {
  const made = submit(world, call("{{a}}{{o}}", [input("a", first), output("o", 20)]));
  const ends = befores.map((before) =>
    submit(
      world,
      call("{{b}} then {{p}}: {{o}}", [
        input("b", before),
        input("p", { id: made.o }),
        output("o", 5),
      ]),
    ).o
  );
  return world.clock.run(
    Promise.all(ends.map((id) => world.graph.read(world.session, id, "latency"))),
  );
};

Deno.test("PrefillAhead fills the beginning of a prompt whose input is being produced", async () => {
  const [fill, ...rest] = await filledAhead(readers("begin", [own("b", 600)]));
  assertEquals(fill.slice(0, 606), `${own("b", 600)} then `);
  assertEquals(rest, []);
});

Deno.test("PrefillAhead leaves a beginning that is short, or that the producer's own prompt has filled", async () => {
  assertEquals(await filledAhead(readers("begin", [own("b", 480)])), []);
  const shared = own("s", 5000);
  assertEquals(await filledAhead(readers(shared, [`${shared}${own("b", 480)}`])), []);
  const [fill] = await filledAhead(readers(shared, [`${shared}${own("b", 600)}`]));
  assertEquals(fill.slice(0, 5600), `${shared}${own("b", 600)}`);
});

Deno.test("PrefillAhead fills a beginning that several readers share once, and what is their own", async () => {
  const alike = own("a", 2000);
  assertEquals((await filledAhead(readers("begin", [alike, alike, alike]))).length, 1);
  const different = [own("a", 2000), own("b", 2000), own("c", 2000)];
  assertEquals((await filledAhead(readers("begin", different))).length, 3);
});
