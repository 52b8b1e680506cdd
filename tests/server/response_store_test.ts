import { assertEquals } from "@std/assert";
import { ResponseStore, type StoredResponse } from "../../src/server/response_store.ts";

function stored(id: string, text: string): StoredResponse {
  const content = [{ type: "output_text" as const, text, annotations: [], logprobs: [] }];
  const response = {
    id,
    object: "response" as const,
    created_at: 0,
    status: "completed" as const,
    error: null,
    incomplete_details: null,
    model: "fake",
    output: [{
      type: "message" as const,
      id: `item of ${id}`,
      status: "completed" as const,
      role: "assistant" as const,
      content,
    }],
    usage: null,
  };
  return { response, input: [] };
}

Deno.test("ResponseStore forgets those unused for longest once there is no room", () => {
  const one = JSON.stringify([stored("a", "x".repeat(100)).response, []]).length;
  const store = new ResponseStore(3 * one);
  const kept = () => ["a", "b", "c", "d"].filter((id) => store.item("", `item of ${id}`));
  for (const id of ["a", "b", "c"]) store.put("", stored(id, "x".repeat(100)));
  assertEquals(kept(), ["a", "b", "c"]);
  store.get("", "a");
  store.put("", stored("d", "x".repeat(100)));
  assertEquals(kept(), ["a", "c", "d"]);
  // Of what is too large for all of the room nothing is kept, and nothing else goes for it.
  store.put("", stored("b", "x".repeat(4 * one)));
  assertEquals(kept(), ["a", "c", "d"]);
  store.delete("", "c");
  store.put("", stored("b", "x".repeat(100)));
  assertEquals(kept(), ["a", "b", "d"]);
});

Deno.test("ResponseStore shows a tenant's responses to nobody else", () => {
  const store = new ResponseStore(1 << 20);
  store.put("mine", stored("a", "x"));
  assertEquals(store.get("theirs", "a"), undefined);
  assertEquals(store.item("theirs", "item of a"), undefined);
  assertEquals(store.delete("theirs", "a"), false);
  assertEquals(store.get("mine", "a")?.response.id, "a");
});

Deno.test("ResponseStore makes room among the responses of the tenant that has most", () => {
  const one = JSON.stringify([stored("a", "x".repeat(100)).response, []]).length;
  const store = new ResponseStore(3 * one);
  store.put("mine", stored("a", "x".repeat(100)));
  for (const id of ["b", "c", "d", "e"]) store.put("theirs", stored(id, "x".repeat(100)));
  assertEquals(store.get("mine", "a")?.response.id, "a");
  assertEquals(["b", "c", "d", "e"].filter((id) => store.get("theirs", id)), ["d", "e"]);
  // One that is larger than what its tenant has room for goes itself.
  store.put("theirs", stored("f", "x".repeat(100 + 2 * one)));
  assertEquals(store.get("theirs", "f"), undefined);
  assertEquals(store.get("mine", "a")?.response.id, "a");
});

Deno.test("ResponseStore has an item as long as any response that holds it", () => {
  const store = new ResponseStore(1 << 20);
  const first = stored("a", "x");
  store.put("", first);
  store.put("", { ...stored("b", "y"), input: first.response.output });
  store.delete("", "a");
  assertEquals(store.item("", "item of a"), first.response.output[0]);
  store.delete("", "b");
  assertEquals(store.item("", "item of a"), undefined);
});
