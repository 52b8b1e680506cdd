import { ModelFormatError } from "../common/errors.ts";
import { type ByteSource, MemorySource } from "./file_source.ts";

// Metadata is read field by field; 256 KiB a refill keeps a 5 MB vocabulary at 20 system calls.
const windowBytes = 256 * 1024;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A forward, bounded, little-endian reader. Every method takes the name of the field it reads, so that a file that
 * ends early or holds a bad value gives one error that names file, field, value and what was expected.
 */
export class ByteReader {
  readonly #source: ByteSource;
  readonly #end: number;
  #window = new Uint8Array(0);
  #view = new DataView(this.#window.buffer);
  #windowStart: number;
  #position = 0;

  /** Reads `source` from byte `start` up to byte `end`. */
  constructor(
    source: ByteSource | Uint8Array,
    start = 0,
    end = source instanceof Uint8Array ? source.length : source.size,
  ) {
    this.#source = source instanceof Uint8Array ? new MemorySource(source) : source;
    this.#windowStart = start;
    this.#end = Math.min(end, this.#source.size);
  }

  /** Offset in the source of the next byte. */
  get offset(): number {
    return this.#windowStart + this.#position;
  }

  /** Bytes left. */
  get remaining(): number {
    return this.#end - this.offset;
  }

  /** An error about `field` of this file. */
  error(field: string, met: string, expected: string): ModelFormatError {
    return new ModelFormatError(`${this.#source.name}: ${field} is ${met}, expected ${expected}`);
  }

  /** Makes the next `length` bytes available in the window; returns where they start in it and moves past them. */
  #take(length: number, field: string): number {
    if (length > this.remaining) {
      throw new ModelFormatError(
        `${this.#source.name}: ${field} needs ${length} bytes at offset ${this.offset}, ` +
          `the data ends after ${this.remaining}`,
      );
    }
    if (this.#position + length > this.#window.length) {
      this.#windowStart = this.offset;
      this.#position = 0;
      this.#window = new Uint8Array(Math.min(Math.max(length, windowBytes), this.remaining));
      this.#source.read(this.#windowStart, this.#window);
      this.#view = new DataView(this.#window.buffer);
    }
    const at = this.#position;
    this.#position += length;
    return at;
  }

  u8(field: string): number {
    const at = this.#take(1, field);
    return this.#view.getUint8(at);
  }

  i8(field: string): number {
    const at = this.#take(1, field);
    return this.#view.getInt8(at);
  }

  u16(field: string): number {
    const at = this.#take(2, field);
    return this.#view.getUint16(at, true);
  }

  i16(field: string): number {
    const at = this.#take(2, field);
    return this.#view.getInt16(at, true);
  }

  u32(field: string): number {
    const at = this.#take(4, field);
    return this.#view.getUint32(at, true);
  }

  i32(field: string): number {
    const at = this.#take(4, field);
    return this.#view.getInt32(at, true);
  }

  f32(field: string): number {
    const at = this.#take(4, field);
    return this.#view.getFloat32(at, true);
  }

  f64(field: string): number {
    const at = this.#take(8, field);
    return this.#view.getFloat64(at, true);
  }

  u64(field: string): bigint {
    const at = this.#take(8, field);
    return this.#view.getBigUint64(at, true);
  }

  i64(field: string): bigint {
    const at = this.#take(8, field);
    return this.#view.getBigInt64(at, true);
  }

  /** An unsigned 64-bit count or size that must be at most `max` (itself a safe integer). */
  count(field: string, max: number): number {
    const value = this.u64(field);
    if (value > BigInt(max)) throw this.error(field, `${value}`, `at most ${max}`);
    return Number(value);
  }

  /** The next `length` bytes, valid until the next read. The length is checked before anything is allocated. */
  bytes(length: number, field: string): Uint8Array {
    const at = this.#take(length, field);
    return this.#window.subarray(at, at + length);
  }

  /** `length` bytes of UTF-8. */
  utf8(length: number, field: string): string {
    const bytes = this.bytes(length, field);
    // A vocabulary is 100,000s of short, mostly ASCII strings: one TextDecoder call each costs several times this loop.
    if (length <= 16) {
      let text = "";
      let i = 0;
      for (; i < length && bytes[i] < 0x80; i++) text += String.fromCharCode(bytes[i]);
      if (i === length) return text;
    }
    try {
      return strictUtf8.decode(bytes);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw this.error(field, `not UTF-8 at offset ${this.offset - length}`, "UTF-8 text");
    }
  }

  /** `length` bytes as text, whatever they are: for showing a bad magic. */
  latin1(length: number, field: string): string {
    return String.fromCharCode(...this.bytes(length, field));
  }
}
