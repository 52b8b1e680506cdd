import { assertEquals, assertThrows } from "@std/assert";
import { GraphError } from "../../src/graph/graph_error.ts";
import { parseSamplingConfig } from "../../src/graph/sampling_config.ts";

Deno.test("parseSamplingConfig passes penalties on, and refuses what it does not know or cannot use", () => {
  const { sampling, maxTokens } = parseSamplingConfig(
    { presence_penalty: -0.5, frequency_penalty: 1.5, temperature: 0, n: 1, max_gen_length: 3 },
    7,
  );
  assertEquals(sampling, {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    seed: 7,
    presencePenalty: -0.5,
    frequencyPenalty: 1.5,
  });
  assertEquals(maxTokens, 3);
  for (
    const [config, text] of [
      [{ presence_penalty: 3 }, "presence_penalty: got 3, expected a number in [-2, 2]"],
      [{ frequency_penalty: "1" }, 'frequency_penalty: got "1"'],
      [{ temprature: 1 }, 'unexpected field "temprature"'],
    ] as const
  ) {
    assertThrows(() => parseSamplingConfig(config, 0), GraphError, text);
  }
});

Deno.test("parseSamplingConfig reads one constraint, and refuses two, none and what cannot be kept", () => {
  const { constraint } = parseSamplingConfig(
    { structured_outputs: { regex: "a+", json: null } },
    0,
  );
  assertEquals(constraint, { kind: "regex", pattern: "a+" });
  assertEquals(parseSamplingConfig({ structured_outputs: null }, 0).constraint, undefined);
  for (
    const [structured_outputs, text] of [
      [{}, "got none, expected one of json"],
      [{ json_object: false }, "got none"],
      [{ regex: "a", choice: ["b"] }, "got regex and choice, expected one"],
      [{ xml: 1 }, 'unexpected field "xml"'],
      [["a"], "expected an object"],
      [{ regex: 7 }, "regex: expected a string"],
      [{ json: "{" }, "no JSON"],
      [{ json: { not: {} } }, 'keyword "not" at #'],
      [{ choice: "a" }, "choice: expected an array"],
    ] as const
  ) {
    assertThrows(() => parseSamplingConfig({ structured_outputs }, 0), GraphError, text);
  }
  const both = { structured_outputs: { regex: "a" }, ignore_tokenizer_eos: true };
  assertThrows(() => parseSamplingConfig(both, 0), GraphError, "ignore_tokenizer_eos");
});

Deno.test("parseSamplingConfig refuses names that every object inherits", () => {
  for (const name of ["constructor", "toString"]) {
    assertThrows(() => parseSamplingConfig({ [name]: 1 }, 0), GraphError, name);
  }
});
