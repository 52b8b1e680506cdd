/** Where the bytes of a file format come from: random access, with the name that errors carry. @module */

import { ModelFormatError } from "../common/errors.ts";

/** Random access to `size` bytes. Reads are synchronous: they run where blocking is allowed. */
export interface ByteSource extends Disposable {
  /** The path, or what stands for it in error messages. */
  readonly name: string;
  readonly size: number;
  /**
   * Fills `into` with the bytes from `offset` on.
   * Throws `ModelFormatError` when `[offset, offset + into.length)` is not inside the source.
   */
  read(offset: number, into: Uint8Array): void;
}

function checkRange(source: ByteSource, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > source.size - length) {
    throw new ModelFormatError(
      `${source.name}: bytes [${offset}, ${
        offset + length
      }) were asked for, the file has ${source.size}`,
    );
  }
}

/** A file on disk, open until disposed. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #file: Deno.FsFile;

  private constructor(name: string, file: Deno.FsFile, size: number) {
    this.name = name;
    this.#file = file;
    this.size = size;
  }

  /** Opens `path` for reading. Throws `Deno.errors.NotFound` as `Deno.openSync` does, and `ModelFormatError` for a device or pipe. */
  static open(path: string): FileSource {
    const file = Deno.openSync(path, { read: true });
    try {
      const info = file.statSync();
      if (!info.isFile) throw new ModelFormatError(`${path}: it is no regular file`);
      return new FileSource(path, file, info.size);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    let filled = 0;
    while (filled < into.length) {
      const count = this.#file.readSync(into.subarray(filled));
      if (count === null || count === 0) {
        throw new ModelFormatError(
          `${this.name}: the file ended at byte ${
            offset + filled
          }, it had ${this.size} when opened`,
        );
      }
      filled += count;
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Bytes in memory. */
export class MemorySource implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, name = "memory") {
    this.#bytes = bytes;
    this.name = name;
    this.size = bytes.length;
  }

  read(offset: number, into: Uint8Array): void {
    checkRange(this, offset, into.length);
    into.set(this.#bytes.subarray(offset, offset + into.length));
  }

  [Symbol.dispose](): void {}
}
