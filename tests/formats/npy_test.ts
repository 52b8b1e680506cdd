import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ModelFormatError } from "../../src/common/errors.ts";
import { encodeNpy, type NpyArray, parseNpy, readNpy, writeNpy } from "../../src/formats/npy.ts";

const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** A .npy file with this header text and data. */
function npy(header: string, data: Uint8Array, version = 1): Uint8Array {
  const length = version === 1
    ? [header.length & 255, header.length >> 8]
    : [...new Uint8Array(Uint32Array.of(header.length).buffer)];
  return Uint8Array.from([
    ...latin1("\x93NUMPY"),
    version,
    0,
    ...length,
    ...latin1(header),
    ...data,
  ]);
}

const header = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;

// numpy.save of numpy.arange(6, dtype="<f4").reshape(2, 3), NumPy 2.4.6, as base64.
const fromNumpy =
  "k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9" +
  "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPwAAAEAAAEBAAACAQAAAoEA=";

Deno.test("parseNpy and encodeNpy agree with NumPy's own bytes", () => {
  const bytes = latin1(atob(fromNumpy));
  const array = parseNpy(bytes);
  assertEquals(array, { type: "float32", shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) });
  assertEquals(encodeNpy(array), bytes);
});

Deno.test("encodeNpy then parseNpy gives the array back, for every type and rank", () => {
  const arrays: ((n: number) => Pick<NpyArray, "type" | "data">)[] = [
    (n) => ({ type: "float16", data: new Uint16Array(n).fill(0x3c00) }),
    (n) => ({ type: "float32", data: new Float32Array(n).fill(-1.5) }),
    (n) => ({ type: "float64", data: new Float64Array(n).fill(Math.E) }),
    (n) => ({ type: "int8", data: new Int8Array(n).fill(-7) }),
    (n) => ({ type: "uint8", data: new Uint8Array(n).fill(200) }),
    (n) => ({ type: "uint16", data: new Uint16Array(n).fill(60000) }),
    (n) => ({ type: "int32", data: new Int32Array(n).fill(-70000) }),
    (n) => ({ type: "uint32", data: new Uint32Array(n).fill(4e9) }),
    (n) => ({ type: "int64", data: new BigInt64Array(n).fill(-(2n ** 40n)) }),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...arrays),
      fc.array(fc.nat(5), { maxLength: 5 }),
      (make, shape) => {
        const array = { ...make(shape.reduce((a, n) => a * n, 1)), shape } as NpyArray;
        const bytes = encodeNpy(array);
        assertEquals(parseNpy(bytes), array);
        assertEquals((bytes.length - array.data.byteLength) % 64, 0);
      },
    ),
  );
});

Deno.test("parseNpy reads versions 2 and 3, one-dimensional Fortran order, and unaligned buffers", () => {
  const data = new Uint8Array(Int32Array.of(1, 2, 3).buffer);
  for (const version of [1, 2, 3]) {
    const bytes = npy(header("<i4", "(3,)"), data, version);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    assertEquals(parseNpy(shifted.subarray(1)).data, Int32Array.of(1, 2, 3));
  }
  assertEquals(parseNpy(npy(header("<i4", "(1, 3)", "True"), data)).shape, [1, 3]);
  assertEquals(parseNpy(npy(header("|u1", "()"), Uint8Array.of(9))).shape, []);
});

Deno.test("parseNpy says what is wrong and what was expected", () => {
  const four = new Uint8Array(4);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(3), "x.npy: file is 3 bytes long, expected a .npy header"],
    [latin1("PK\x03\x04______"), "magic byte 0 is 80, expected 147"],
    [npy(header("<f4", "(1,)"), four, 9), "format version is 9.0, expected 1.0, 2.0 or 3.0"],
    [npy(header(">f4", "(1,)"), four), "descr is '>f4', expected <f2, <f4"],
    [npy(header("<c8", "(1,)"), four), "descr is '<c8'"],
    [
      npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", four),
      "structured arrays",
    ],
    [
      npy(header("<f4", "(2, 2)", "True"), new Uint8Array(16)),
      "fortran_order is True, expected False",
    ],
    [npy(header("<f4", "(2,)"), four), "data is 4 bytes long, expected 8 for shape (2) of float32"],
    [npy(header("<f4", "(-1,)"), four), "expected a 'shape' tuple"],
    [npy(header("<f4", "(99999999999999999999,)"), four), "shape entry is 99999999999999999999"],
    [
      npy(header("<f4", "(9007199254740991, 9007199254740991, 0)"), four),
      "data is 4 bytes long, expected 0",
    ],
    [npy(header("<f4", "(1,)"), four).subarray(0, 40), "header length is"],
  ];
  for (const [bytes, message] of cases) {
    assertThrows(() => parseNpy(bytes, "x.npy"), ModelFormatError, message);
  }
});

Deno.test("parseNpy of damaged files gives an array or a ModelFormatError, nothing else", () => {
  const good = encodeNpy({ type: "float32", shape: [3, 2], data: new Float32Array(6) });
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(edits, fc.nat(good.length), (list, length) => {
      const bad = good.slice(0, length);
      for (const [at, value] of list) if (at < length) bad[at] = value;
      try {
        const array = parseNpy(bad);
        assertEquals(array.shape.reduce((a, n) => a * n, 1), array.data.length);
      } catch (error) {
        if (!(error instanceof ModelFormatError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("encodeNpy refuses a shape that is not the data's", () => {
  assertThrows(
    () => encodeNpy({ type: "uint8", shape: [2, 2], data: new Uint8Array(3) }),
    RangeError,
    "has 4 elements",
  );
});

Deno.test("writeNpy and readNpy work on files and name them in errors", () => {
  const path = Deno.makeTempFileSync({ suffix: ".npy" });
  try {
    const array: NpyArray = { type: "int8", shape: [2, 2], data: Int8Array.of(1, -2, 3, -4) };
    writeNpy(path, array);
    assertEquals(readNpy(path), array);
    Deno.writeTextFileSync(path, "not an array");
    assertThrows(() => readNpy(path), ModelFormatError, path);
  } finally {
    Deno.removeSync(path);
  }
});
