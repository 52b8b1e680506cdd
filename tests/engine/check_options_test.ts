import { assertThrows } from "@std/assert";
import { checkDecode } from "../../src/engine/check_decode.ts";
import { checkRequest } from "../../src/engine/check_request.ts";
import { checkSampling } from "../../src/engine/check_sampling.ts";
import { checkScheduler } from "../../src/engine/check_scheduler.ts";
import { checkSizes } from "../../src/engine/check_sizes.ts";
import { greedy } from "../../src/engine/sampling_defaults.ts";
import type { DecodePolicy, GenerateRequest, SamplingOptions } from "../../src/engine/types.ts";

/** `value` as another process gets it. */
function sent<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

Deno.test("sampling out of range is refused by name", () => {
  checkSampling(greedy, 10);
  checkSampling({ temperature: 1.5, topK: 40, topP: 0, minP: 1, seed: -(2 ** 40) }, 10);
  const wrong: [Partial<SamplingOptions>, string][] = [
    [{ temperature: -1 }, "temperature is -1, expected a number of at least 0"],
    [{ temperature: NaN }, "temperature is NaN"],
    [{ temperature: Infinity }, "temperature is Infinity"],
    [{ topP: 2 }, "topP is 2, expected a number in [0, 1]"],
    [{ minP: -0.1 }, "minP is -0.1"],
    [{ topK: -1 }, "topK is -1, expected an integer of at least 0"],
    [{ topK: 1.5 }, "topK is 1.5"],
    [{ presencePenalty: NaN }, "presencePenalty is NaN, expected a number"],
    [{ frequencyPenalty: 1e39 }, "frequencyPenalty is 1e+39, expected a number of single"],
    [{ seed: 1.5 }, "seed is 1.5, expected an integer of at most 53 bits"],
    // What is no number arrives so in another process, and would pass for 0 there.
    [sent({ temperature: NaN }), "temperature is null"],
    [sent({ topP: NaN }), "topP is null"],
    [sent({ presencePenalty: NaN }), "presencePenalty is null"],
    [sent({ logitBias: { 3: Infinity } }), "logitBias of token 3 is null"],
    [{ temperature: "1" as unknown as number }, "temperature is 1, expected a number"],
  ];
  for (const [own, message] of wrong) {
    assertThrows(() => checkSampling({ ...greedy, ...own }, 10), TypeError, message);
  }
});

Deno.test("a policy of no kind, or with a budget out of range, is refused", () => {
  const good: (DecodePolicy | undefined)[] = [
    undefined,
    { kind: "auto" },
    { kind: "dense" },
    { kind: "retrieval" },
    { kind: "retrieval", k: 1, mass: 1 },
  ];
  good.forEach(checkDecode);
  const wrong: [unknown, string][] = [
    [{ kind: "zzz" }, 'decode.kind is "zzz"'],
    [{}, "decode.kind is undefined"],
    [{ kind: "retrieval", mass: 2 }, "decode.mass is 2"],
    [{ kind: "retrieval", mass: 0 }, "decode.mass is 0"],
    [{ kind: "retrieval", mass: "0.9" }, 'decode.mass is "0.9", expected a number'],
    [{ kind: "retrieval", k: "5" }, 'decode.k is "5", expected a positive integer'],
    [null, 'decode is null, expected an object such as {"kind": "dense"}'],
    ["dense", 'decode is "dense", expected an object such as'],
    [{ kind: "dense", k: 5 }, 'decode of kind "dense" has a "k", expected no more than "kind"'],
    [{ kind: "retrieval", keys: 5 }, 'has a "keys", expected no more than "kind", "k", "mass"'],
    [{ kind: "retrieval", k: 0 }, "decode.k is 0"],
    [{ kind: "retrieval", k: 1.5 }, "decode.k is 1.5"],
  ];
  for (const [policy, message] of wrong) {
    assertThrows(() => checkDecode(policy as DecodePolicy), TypeError, message);
  }
});

Deno.test("sizes of an engine are positive integers", () => {
  checkSizes({});
  checkSizes({
    maxSequences: 1,
    maxBatchTokens: 512,
    contextLength: 1,
    kvTokens: 64,
    maxKvBytes: 1.5,
  });
  for (const name of ["maxSequences", "maxBatchTokens", "contextLength", "kvTokens"]) {
    for (const value of [0, -1, 1.5, NaN, Infinity]) {
      assertThrows(() => checkSizes({ [name]: value }), RangeError, `${name} is ${value}`);
    }
  }
  assertThrows(() => checkSizes({ maxKvBytes: 0 }), RangeError, "maxKvBytes is 0");
});

Deno.test("an engine's element type is one of two, and no amount of its retrieval is below nothing", () => {
  checkSizes({ kvType: "f32", retrieval: false });
  checkSizes({ kvType: "f16", retrieval: { crossover: Infinity, tail: 0, idleBytes: 1.5 } });
  const other = "f8" as "f16";
  assertThrows(
    () => checkSizes({ kvType: other }),
    RangeError,
    "kvType is f8, expected f16 or f32",
  );
  checkSizes({ activations: "int8" });
  assertThrows(
    () => checkSizes({ activations: "int4" as "int8" }),
    RangeError,
    "activations is int4, expected f32 or int8",
  );
  for (const name of ["crossover", "tail", "idleBytes"]) {
    for (const value of [-1, NaN]) {
      const retrieval = { [name]: value };
      const words = `retrieval.${name} is ${value}, expected a number of at least 0`;
      assertThrows(() => checkSizes({ retrieval }), RangeError, words);
    }
  }
});

Deno.test("lists, criteria and priority of a request are refused where they are none", () => {
  checkRequest({});
  checkRequest({ stop: ["a", ""], visible: [], stopTokens: [-1, 5], criteria: "throughput" });
  checkRequest({ priority: -Infinity });
  const wrong: [unknown, string][] = [
    [{ stop: "x" }, 'stop is "x", expected an array of strings'],
    [{ stop: [5] }, "stop is [5]"],
    [{ visible: 4 }, "visible is 4, expected an array of strings"],
    [{ stopTokens: ["a"] }, 'stopTokens is ["a"], expected an array of integers'],
    [{ criteria: "fast" }, 'criteria is "fast", expected "latency" or "throughput"'],
    [{ priority: NaN }, "priority is NaN, expected a number"],
  ];
  for (const [request, message] of wrong) {
    assertThrows(() => checkRequest(request as GenerateRequest), TypeError, message);
  }
});

Deno.test("options of a scheduler are positive integers, its patience no less than nothing", () => {
  checkScheduler();
  checkScheduler({ maxWaiting: 1, latencyRows: Infinity, patienceMs: 0, overdueShare: 8 });
  for (const name of ["maxWaiting", "mixedStepTokens", "latencyRows", "overdueShare"]) {
    for (const value of [0, -1, 1.5, NaN]) {
      assertThrows(() => checkScheduler({ [name]: value }), RangeError, `${name} is ${value}`);
    }
  }
  assertThrows(() => checkScheduler({ patienceMs: -1 }), RangeError, "patienceMs is -1");
});
