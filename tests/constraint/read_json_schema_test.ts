import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConstraintError } from "../../src/common/errors.ts";
import { readJsonSchema } from "../../src/constraint/read_json_schema.ts";

Deno.test("readJsonSchema takes annotations off and leaves the rest, in order", () => {
  const schema = {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://example.org/s",
    title: "T",
    type: "object",
    properties: {
      // Names of properties, no keywords.
      title: { type: "string", description: "d", default: 1, examples: [2], example: 3 },
      not: { anyOf: [{ type: "null", $comment: "c" }, { $ref: "#/$defs/a~1b" }] },
      ["__proto__"]: true,
    },
    required: ["title"],
    additionalProperties: false,
    $defs: { "a/b": { enum: [{ title: "kept", not: 1 }] } },
  };
  assertEquals(
    JSON.stringify(readJsonSchema(JSON.parse(JSON.stringify(schema)))),
    JSON.stringify({
      type: "object",
      properties: {
        title: { type: "string" },
        not: { anyOf: [{ type: "null" }, { $ref: "#/$defs/escaped.0" }] },
        ["__proto__"]: true,
      },
      required: ["title"],
      additionalProperties: false,
      $defs: {
        "a/b": { enum: [{ title: "kept", not: 1 }] },
        "escaped.0": { enum: [{ title: "kept", not: 1 }] },
      },
    }),
  );
  assertEquals(readJsonSchema(true), true);
  const neutral = {
    uniqueItems: false,
    nullable: false,
    minProperties: 0,
    propertyNames: { type: "string" },
    format: "password",
  };
  assertEquals(readJsonSchema({ ...neutral, minItems: 1 }), { minItems: 1 });
});

Deno.test("readJsonSchema takes oneOf for anyOf exactly where its schemas exclude each other", () => {
  const pet = (kind: unknown, rest = {}) => ({
    type: "object",
    properties: { kind, child: { $ref: "#/$defs/pet" } },
    required: ["kind"],
    ...rest,
  });
  const $defs = {
    cat: pet({ const: "cat" }),
    dog: pet({ $ref: "#/$defs/dogs" }),
    dogs: { enum: ["dog", "hound"] },
    any: pet({ type: "string" }),
    open: { properties: { kind: { const: "x" } }, required: ["kind"] },
    pet: { oneOf: [{ $ref: "#/$defs/cat" }, { $ref: "#/$defs/dog" }] },
    loop: { $ref: "#/$defs/loop" },
  };
  const ref = (name: string) => ({ $ref: `#/$defs/${name}` });
  const cases: [unknown[], boolean][] = [
    [[ref("cat"), ref("dog")], true],
    [[ref("cat"), ref("dog"), { type: "null" }, { type: ["string", "integer"] }], true],
    [[ref("cat"), ref("open")], true],
    [[{ const: "a" }, { enum: ["b", true] }], true],
    [[ref("cat"), ref("cat")], false],
    [[ref("cat"), ref("any")], false],
    [[ref("cat"), pet({ const: "dog" }, { required: [] })], false],
    [[ref("open"), { ...$defs.open, properties: { kind: { const: "y" } } }], false],
    [[{ type: "integer" }, { type: "number" }], false],
    [[{ const: 1 }, { const: 1.0 }], false],
    [[{ type: "string" }, {}], false],
    [[ref("loop"), { type: "null" }], false],
    [[{ type: "null" }, true], false],
  ];
  for (const [oneOf, same] of cases) {
    const { oneOf: left, anyOf } = readJsonSchema({ oneOf, $defs }) as Record<string, unknown>;
    assertEquals([left !== undefined, anyOf !== undefined], [!same, same], JSON.stringify(oneOf));
  }
});

Deno.test("readJsonSchema takes hostile unions in its stride", () => {
  const required = Array.from({ length: 60 }, (_, i) => `p${i}`);
  const deep = (levels: number): unknown =>
    levels === 0 ? {} : {
      type: "object",
      required,
      properties: Object.fromEntries(
        required.map((name) => [name, { $ref: `#/$defs/d${levels - 1}` }]),
      ),
    };
  const $defs = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`d${i}`, deep(i)]));
  const began = performance.now();
  readJsonSchema({ oneOf: Array.from({ length: 3000 }, () => ({ $ref: "#/$defs/d5" })), $defs });
  const ms = performance.now() - began;
  assert(ms < 1000, `${ms} ms`);
});

Deno.test("readJsonSchema refuses many patterns that one string has to match, however they come together", () => {
  const pattern = (n: number) => ({ type: "string", pattern: `.*${n}` });
  const many = (n: number) => Array.from({ length: n }, (_, i) => pattern(i));
  const chain = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `d${i}`,
      {
        allOf: [{ $ref: `#/$defs/d${Math.min(i + 1, 39)}` }, {
          $ref: `#/$defs/d${Math.min(i + 1, 39)}`,
        }],
      },
    ]),
  );
  const refused: [Record<string, unknown>, string][] = [
    [{ allOf: many(6) }, "at # more"],
    [
      { properties: { a: { items: { allOf: [{ allOf: many(3) }, { allOf: many(3) }] } } } },
      "at #/properties/a/items",
    ],
    [{
      ...pattern(0),
      allOf: [{ anyOf: many(3) }, { $ref: "#/$defs/x" }],
      $defs: { x: { allOf: many(4) } },
    }, "at # more"],
    [{ $ref: "#/$defs/d0", $defs: { ...chain, d39: pattern(1) } }, "hold together"],
    [{ properties: { enum: { allOf: many(6) } } }, "at #/properties/enum more"],
    [
      { patternProperties: Object.fromEntries(many(7).map(({ pattern }) => [pattern, true])) },
      "at # more",
    ],
  ];
  for (const [schema, text] of refused) {
    assertThrows(() => readJsonSchema(schema), ConstraintError, text);
  }
  // Alternatives do not come together, nor do properties; a schema may hold itself.
  readJsonSchema({
    anyOf: many(40),
    allOf: many(3),
    properties: Object.fromEntries(many(30).map((one, i) => [i, one])),
  });
  readJsonSchema({ allOf: [{ anyOf: [{ $ref: "#" }, {}] }, pattern(1)] });
});

Deno.test("readJsonSchema refuses schemas of endless texts only, and takes others that hold themselves", () => {
  const of = (next: unknown, required = ["next"]) => ({
    type: "object",
    properties: { next },
    required,
  });
  const self = { $ref: "#" };
  const endless: Record<string, unknown>[] = [
    { $ref: "#" },
    of(self),
    of({ allOf: [{}, self] }),
    of({ anyOf: [self, of(self)] }),
    { type: "array", items: self, minItems: 1 },
    { type: "array", prefixItems: [{}, self], minItems: 2 },
    { type: "object", additionalProperties: self, required: ["any"] },
    { $ref: "#/$defs/a", $defs: { a: of({ $ref: "#/$defs/b" }), b: of({ $ref: "#/$defs/a" }) } },
  ];
  for (const schema of endless) {
    assertThrows(() => readJsonSchema(schema), ConstraintError, "endless", JSON.stringify(schema));
  }
  const chain = (length: number) =>
    Object.fromEntries(
      Array.from(
        { length },
        (_, i) => [`d${i}`, of({ $ref: `#/$defs/d${(i + 1) % length}` })],
      ),
    );
  const one = of({ anyOf: [{ $ref: "#/$defs/b" }, { const: 1 }] });
  const variant = (kind: string, name: string) => ({
    ...of({ $ref: `#/$defs/${name}` }, ["kind"]),
    properties: { next: { $ref: `#/$defs/${name}` }, kind: { const: kind } },
  });
  const fine: Record<string, unknown>[] = [
    of(self, []),
    of({ anyOf: [self, { type: "null" }] }),
    { ...of(self), type: ["object", "null"] },
    { type: "array", items: self },
    { type: "array", prefixItems: [{}, self], minItems: 1 },
    { $ref: "#/$defs/d0", $defs: { ...chain(300), d150: {} } },
    { $ref: "#/$defs/a", $defs: { a: one, b: of({ $ref: "#/$defs/a" }) } },
    {
      oneOf: [{ $ref: "#/$defs/x" }, { $ref: "#/$defs/y" }],
      $defs: { x: variant("x", "x"), y: variant("y", "y") },
    },
    // Alike all the way down: not told apart, and left to the compiler.
    {
      oneOf: [{ $ref: "#/$defs/p" }, { $ref: "#/$defs/q" }],
      $defs: {
        p: { anyOf: [of({ $ref: "#/$defs/p" }), { type: "null" }] },
        q: of({ $ref: "#/$defs/q" }, []),
      },
    },
  ];
  for (const schema of fine) readJsonSchema(schema);
  const long = Object.fromEntries(
    Array.from({ length: 4500 }, (_, i) => [`d${i}`, { allOf: [{ $ref: `#/$defs/d${i + 1}` }] }]),
  );
  assertThrows(
    () => readJsonSchema({ $ref: "#/$defs/d0", $defs: { ...long, d4500: {} } }),
    ConstraintError,
  );
  const twins = (name: string) => of({ $ref: `#/$defs/${name}` });
  assertThrows(
    () =>
      readJsonSchema({
        oneOf: [{ $ref: "#/$defs/x" }, { $ref: "#/$defs/y" }],
        $defs: { x: twins("x"), y: twins("y") },
      }),
    ConstraintError,
    "endless",
  );
});

Deno.test("readJsonSchema refuses what cannot be kept, naming keyword and path", () => {
  const deep = (levels: number) => {
    let schema: unknown = true;
    for (let i = 0; i < levels; i++) schema = { items: schema };
    return schema;
  };
  const cases: [unknown, string][] = [
    [{ properties: { a: { not: {} } } }, 'keyword "not" at #/properties/a is'],
    [{ anyOf: [{}, { uniqueItems: true }] }, 'keyword "uniqueItems" at #/anyOf/1 is'],
    [{ items: { $id: "x" } }, 'keyword "$id" at #/items is'],
    [{ "x-guidance": {} }, 'keyword "x-guidance" at # is'],
    [{ nullable: true }, 'keyword "nullable"'],
    [{ propertyNames: { format: "uuid" } }, 'keyword "propertyNames"'],
    [{ if: {}, then: {} }, 'keyword "if"'],
    [{ minProperties: 1 }, 'keyword "minProperties"'],
    [{ properties: { "a/b": { type: "float" } } }, '#/properties/a~1b/type is "float"'],
    [{ type: [] }, "#/type is []"],
    [{ items: [{}], prefixItems: [{}] }, "#/items is [{}], expected a schema"],
    [{ items: [{ not: {} }] }, 'keyword "not" at #/prefixItems/0 is'],
    [{ items: {}, additionalItems: false }, 'keyword "additionalItems" at # is'],
    [{ enum: [] }, "#/enum is []"],
    // Looked at for its sake before its own turn comes.
    [
      {
        oneOf: [{ $ref: "#/$defs/a" }, { $ref: "#/$defs/b" }],
        $defs: {
          a: { type: "object", required: 1, properties: null },
          b: { required: "x", enum: 3 },
        },
      },
      "#/$defs/a/required is 1",
    ],
    [{ anyOf: {} }, "#/anyOf is {}"],
    [{ required: [1] }, "#/required is [1]"],
    [{ minLength: -1 }, "#/minLength is -1"],
    [{ maxItems: 1.5 }, "#/maxItems is 1.5"],
    [{ minimum: "3" }, '#/minimum is "3"'],
    [{ maximum: NaN }, "#/maximum was read as NaN"],
    [{ multipleOf: 0 }, "#/multipleOf is 0"],
    [{ pattern: 3 }, "#/pattern is 3"],
    ...["^(?!a)b$", "a(?=b)", "(?<=a)b", "(?<!a)b", String.raw`(a)\1`, String.raw`[(?=]\\(?=a)`]
      .map((pattern): [unknown, string] => [
        { properties: { a: { pattern } } },
        `#/properties/a/pattern is ${
          JSON.stringify(pattern)
        }, expected a regular expression without`,
      ]),
    [{ format: "colour" }, '#/format is "colour", expected one of date-time'],
    [{ $ref: "other.json" }, '#/$ref is "other.json", expected a reference within'],
    [{ $ref: "#/$defs/none" }, '#/$ref is "#/$defs/none"'],
    [{ $ref: "#/%zz" }, '#/$ref is "#/%zz"'],
    [{ $ref: "#/toString" }, '#/$ref is "#/toString"'],
    [{ properties: [] }, "#/properties is []"],
    [{ properties: { a: 1 } }, "#/properties/a is 1"],
    [null, "# is null"],
    ["{}", '# is "{}"'],
    [deep(60), "nested more than 48 levels"],
    [{ anyOf: Array.from({ length: 6000 }, () => ({})) }, "more than 5000 schemas"],
  ];
  for (const [schema, text] of cases) {
    assertThrows(() => readJsonSchema(schema), ConstraintError, text);
  }
  for (const pattern of ["[(?=]", String.raw`\(\?=[^](?!]`, "(?:a)", "(?<b>a)", String.raw`\\1`]) {
    assertEquals(readJsonSchema({ pattern }), { pattern });
  }
  // Deep enough for people.
  readJsonSchema(deep(40));
});

Deno.test("readJsonSchema refuses more values than it could read in a moment, before it reads them", () => {
  const names = Array.from({ length: 140_000 }, (_, i) => `r${i}`);
  const schemas = Object.fromEntries(names.map((name) => [name, true]));
  for (
    const schema of [
      { $defs: schemas },
      { properties: schemas },
      { anyOf: Object.values(schemas) },
      { required: names },
      { enum: names },
      { examples: names },
    ]
  ) {
    const words = "JSON schema: more than 131072 values within it";
    assertThrows(() => readJsonSchema(schema), ConstraintError, words);
  }
});

Deno.test("readJsonSchema takes long hostile patterns in its stride", () => {
  for (const start of ["[", "[^", "[[:"]) {
    const began = performance.now();
    readJsonSchema({ pattern: start.repeat(100_000) });
    const ms = performance.now() - began;
    assert(ms < 1000, `${start}: ${ms} ms`);
  }
});

Deno.test("readJsonSchema refuses numbers that JSON's parser does not keep, and takes the largest that it does", () => {
  const cases: [string, string][] = [
    ['{"const":9007199254740993}', "#/const was read as 9007199254740992, expected"],
    ['{"const":{"a/b":[0,-9007199254740992]}}', "#/const/a~1b/1 was read as -9007199254740992"],
    ['{"enum":[1,1e400]}', "#/enum/1 was read as Infinity"],
    ['{"properties":{"n":{"minimum":10000000000000000000}}}', "#/properties/n/minimum was read as"],
    ['{"maximum":-1e400}', "#/maximum was read as -Infinity"],
    ['{"exclusiveMinimum":9007199254740992}', "#/exclusiveMinimum was read as"],
    ['{"exclusiveMaximum":1e16}', "#/exclusiveMaximum was read as"],
    ['{"multipleOf":1e400}', "#/multipleOf was read as Infinity"],
  ];
  for (const [text, words] of cases) {
    assertThrows(() => readJsonSchema(JSON.parse(text)), ConstraintError, words);
  }
  const kept = { enum: [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0.1, 1e-300, -0] };
  assertEquals(readJsonSchema({ ...kept, minimum: -1.5, default: 2 ** 60 }), {
    ...kept,
    minimum: -1.5,
  });
});

Deno.test("readJsonSchema takes formats of numbers for ranges that keep them, and names beside a pattern for it", () => {
  const most = Number.MAX_SAFE_INTEGER;
  const cases: [Record<string, unknown>, Record<string, unknown>][] = [
    [{ type: "integer", format: "int32" }, { minimum: -(2 ** 31), maximum: 2 ** 31 - 1 }],
    [{ type: "integer", format: "uint32", minimum: 0 }, { minimum: 0, maximum: 2 ** 32 - 1 }],
    [{ type: "number", format: "uint8", minimum: 3, maximum: 300 }, { minimum: 3, maximum: 255 }],
    [{ type: ["integer", "null"], format: "int64" }, { minimum: -most, maximum: most }],
    [{ type: "integer", format: "uint64", minimum: -5 }, { minimum: 0, maximum: most }],
    [{ type: "integer", format: "uint" }, { minimum: 0, maximum: most }],
    [{ type: "number", format: "double", maximum: 1 }, { maximum: 1 }],
    [{ format: "float", type: "number" }, {}],
  ];
  const starts = { type: "string", format: "starts_with", pattern: "^ab.*" };
  assertEquals(readJsonSchema(starts), { type: "string", pattern: "^ab.*" });
  const allOf = [{ pattern: "^a.*" }, { type: "string", pattern: ".*b$" }];
  assertEquals(readJsonSchema({ allOf, format: "ends_with" }), { allOf });
  assertThrows(
    () => readJsonSchema({ type: "string", format: "ends_with", allOf: [{ minLength: 1 }, null] }),
    ConstraintError,
    '#/format is "ends_with"',
  );
  const email = { type: "string", format: "email", pattern: "^a" };
  assertEquals(readJsonSchema(email), email);
  for (const [schema, range] of cases) {
    assertEquals(readJsonSchema(schema), { type: schema.type, ...range });
  }
  for (const type of [undefined, "string", ["integer", "string"]]) {
    const schema = { ...(type && { type }), format: "int32" };
    assertThrows(() => readJsonSchema(schema), ConstraintError, '#/format is "int32"');
  }
  const wrong = { type: "integer", format: "int32", minimum: "1" };
  assertThrows(() => readJsonSchema(wrong), ConstraintError, '#/minimum is "1"');
});

Deno.test("readJsonSchema gives what references with escapes lead to a name that the compiler finds", () => {
  const x = { const: "x" };
  const cases: [string, string][] = [
    ["#/$defs/a~1b", "a/b"],
    ["#/$defs/a~0b", "a~b"],
    ["#/$defs/a~01b", "a~1b"],
    ["#/$defs/a%20b", "a b"],
    ["#/$defs/a%2Fb", "a/b"],
    ["#/$defs/a%25b", "a%b"],
    ["#/$defs/a%zz", "a%zz"],
    ["#/%24defs/a", "a"],
  ];
  for (const [$ref, name] of cases) {
    assertEquals(readJsonSchema({ $ref, $defs: { [name]: x } }), {
      $ref: "#/$defs/escaped.0",
      $defs: { [name]: x, "escaped.0": x },
    }, $ref);
  }
  // What is written without escapes is another definition than what is meant with them.
  const both = { "a%20b": { const: "wrong" }, "a b": x, "escaped.0": {} };
  assertEquals(readJsonSchema({ $ref: "#/$defs/a%20b", $defs: both }), {
    $ref: "#/$defs/escaped.1",
    $defs: { ...both, "escaped.1": x },
  });
  const node = ($ref: string) => ({ type: "object", properties: { next: { $ref } } });
  assertEquals(
    readJsonSchema({
      items: node("#/definitions/a~1b"),
      definitions: { "a/b": node("#/definitions/a~1b") },
    }),
    {
      items: node("#/$defs/escaped.0"),
      definitions: { "a/b": node("#/$defs/escaped.0") },
      $defs: { "escaped.0": node("#/$defs/escaped.0") },
    },
  );
  for (
    const [schema, words] of [
      [
        { anyOf: [{ $ref: "#/$defs/a~1b" }, { $ref: "#/$defs/escaped.0" }], $defs: { "a/b": x } },
        "escaped.0",
      ],
      [{ $ref: "#/$defs/a~1b", $defs: { "a/b": { $ref: "#/$defs/a%2fb" } } }, "endless"],
      [{ $ref: "#/$defs/a~1b" }, '#/$ref is "#/$defs/a~1b"'],
    ] as const
  ) assertThrows(() => readJsonSchema(schema), ConstraintError, words);
});

Deno.test("readJsonSchema spells propertyNames and uniqueItems out where that says the same", () => {
  const number = { type: "number" };
  const cases: [unknown, unknown][] = [
    [
      { additionalProperties: number, propertyNames: { enum: ["a", "b"], type: "string" } },
      { properties: { a: number, b: number }, additionalProperties: false },
    ],
    [
      { properties: { a: true, c: true }, propertyNames: { enum: ["b", "a"] }, required: ["b"] },
      { properties: { a: true, b: true }, required: ["b"], additionalProperties: false },
    ],
    [
      { propertyNames: { pattern: "^x", title: "Key" }, additionalProperties: number },
      { patternProperties: { "^x": number }, additionalProperties: false },
    ],
    [
      { propertyNames: { minLength: 2 } },
      { patternProperties: { "^[\\s\\S]{2,}$": true }, additionalProperties: false },
    ],
    [{ propertyNames: { type: "string", title: "Key" }, required: ["a"] }, { required: ["a"] }],
    [
      { type: "array", uniqueItems: true, title: "Set", items: { enum: ["a", "b", "a"] } },
      { enum: [[], ["a"], ["b"], ["a", "b"], ["b", "a"]] },
    ],
    [
      { type: "array", uniqueItems: true, minItems: 2, maxItems: 2, items: { enum: [1, null] } },
      { enum: [[1, null], [null, 1]] },
    ],
  ];
  for (const [schema, expected] of cases) assertEquals(readJsonSchema(schema), expected);

  // What a reference leads to stays what it is, though that is written elsewhere.
  const $defs = { key: { enum: ["a"], title: "Key" } };
  const properties = {
    x: { additionalProperties: { type: "null" }, propertyNames: { $ref: "#/$defs/key" } },
    y: { $ref: "#/properties/x/additionalProperties" },
  };
  const read = readJsonSchema({ $defs, properties }) as Record<string, Record<string, unknown>>;
  const { $ref } = read.properties.y as { $ref: string };
  assertEquals(read.$defs[$ref.split("/").at(-1)!], { type: "null" });
  assertEquals(read.properties.x, {
    properties: { a: { type: "null" } },
    additionalProperties: false,
  });

  const many = Array.from({ length: 2000 }, (_, i) => `name ${i}`);
  for (
    const [schema, message] of [
      [{ propertyNames: { pattern: "a" }, properties: { a: true } }, '"propertyNames" at # is not'],
      [{ propertyNames: { pattern: "a" }, required: ["b"] }, '"propertyNames" at # is not'],
      [{ propertyNames: { pattern: "a", maxLength: 2 } }, '"propertyNames" at # is not'],
      [{ propertyNames: { format: "uuid" } }, '"propertyNames" at # is not'],
      [{ propertyNames: { $ref: "#" } }, '"propertyNames" at # is not'],
      [{ type: "array", uniqueItems: true, items: number }, '"uniqueItems" at # is not'],
      [{ uniqueItems: true, items: { enum: [1] } }, '"uniqueItems" at # is not'],
      [
        { items: { type: "array", uniqueItems: true, items: { enum: many } } },
        '"uniqueItems" at #/items allows more',
      ],
      [
        { additionalProperties: { enum: many }, propertyNames: { enum: many } },
        '"propertyNames" at # allows more',
      ],
    ] as const
  ) {
    assertThrows(() => readJsonSchema(schema), ConstraintError, message);
  }
});
