import { ModelFormatError } from "../common/errors.ts";

/** An array in GGUF metadata: numbers as a typed array, everything else as a plain one. */
export type GgufArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array
  | string[]
  | boolean[]
  | GgufArray[];

/** A metadata value. 64-bit integers are numbers when exact, bigints otherwise. */
export type GgufValue = number | bigint | boolean | string | GgufArray;

function describe(value: GgufValue): string {
  if (typeof value === "object") return `an array of ${value.length}`;
  const text = typeof value === "string" ? JSON.stringify(value) : `${value}`;
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** The key-value part of a GGUF file, read by type; a missing or mistyped key is a `ModelFormatError`. */
export class GgufMetadata implements Iterable<[string, GgufValue]> {
  /** The file's name, for errors. */
  readonly file: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(
    values: ReadonlyMap<string, GgufValue> | Record<string, GgufValue>,
    file = "metadata",
  ) {
    this.#values = values instanceof Map ? values : new Map(Object.entries(values));
    this.file = file;
  }

  [Symbol.iterator](): Iterator<[string, GgufValue]> {
    return this.#values.entries();
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** The raw value, undefined when absent. */
  get(key: string): GgufValue | undefined {
    return this.#values.get(key);
  }

  /** An error about `key` of this file. */
  error(key: string, expected: string): ModelFormatError {
    const value = this.#values.get(key);
    const met = value === undefined ? "absent" : describe(value);
    return new ModelFormatError(`${this.file}: ${key} is ${met}, expected ${expected}`);
  }

  string(key: string, otherwise?: string): string {
    const value = this.#values.get(key) ?? otherwise;
    if (typeof value !== "string") throw this.error(key, "a string");
    return value;
  }

  boolean(key: string, otherwise?: boolean): boolean {
    const value = this.#values.get(key) ?? otherwise;
    if (typeof value !== "boolean") throw this.error(key, "a boolean");
    return value;
  }

  /** A finite number of any GGUF number type. */
  number(key: string, otherwise?: number): number {
    const value = this.#values.get(key) ?? otherwise;
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw this.error(key, "a finite number");
    }
    return value;
  }

  /** An integer in [min, max]. */
  integer(key: string, min: number, max: number, otherwise?: number): number {
    const value = this.#values.get(key) ?? otherwise;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw this.error(key, `an integer in [${min}, ${max}]`);
    }
    return value;
  }

  strings(key: string): string[] {
    const value = this.#values.get(key);
    if (!Array.isArray(value) || value.some((v) => typeof v !== "string")) {
      throw this.error(key, "an array of strings");
    }
    return value as string[];
  }

  /** An array of numbers of any type but 64-bit. */
  numbers(key: string): Exclude<GgufArray, unknown[] | BigInt64Array | BigUint64Array> {
    const value = this.#values.get(key);
    if (
      typeof value !== "object" || Array.isArray(value) || value instanceof BigInt64Array ||
      value instanceof BigUint64Array
    ) {
      throw this.error(key, "an array of numbers");
    }
    return value;
  }
}
