/**
 * YUV4MPEG2 streams, 8 bits: 4:2:0 (all sitings), 4:2:2, 4:4:4 and monochrome.
 * Layout: the man page yuv4mpeg(5) of mjpegtools.
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";
import { ByteQueue } from "./byte_queue.ts";

/** What a stream's first line says. */
export interface Y4mHeader {
  width: number;
  height: number;
  layout: "420" | "422" | "444" | "mono";
  /** The `C` tag as written ("420jpeg"), so that siting survives; absent when the stream has none (4:2:0 then). */
  colour?: string;
  /** Frames a second as a fraction; 0:0 is unknown. */
  rate: readonly [number, number];
  /** Interlacing tag, "p" when absent. */
  interlacing: string;
  /** Pixel aspect; 0:0 is unknown. */
  aspect: readonly [number, number];
  /** `X` tags, without the letter. */
  comments: readonly string[];
}

const maxLine = 4096;
const maxSide = 16384;
const layouts: Record<string, Y4mHeader["layout"]> = {
  "420": "420",
  "420jpeg": "420",
  "420mpeg2": "420",
  "420paldv": "420",
  "422": "422",
  "444": "444",
  mono: "mono",
};

/** Bytes of one frame. */
export function y4mFrameBytes({ width, height, layout }: Y4mHeader): number {
  const half = (n: number) => (n + 1) >> 1;
  switch (layout) {
    case "420":
      return width * height + 2 * half(width) * half(height);
    case "422":
      return width * height + 2 * half(width) * height;
    case "444":
      return 3 * width * height;
    case "mono":
      return width * height;
  }
}

/** An open stream: its header, then its frames' bytes (Y, Cb, Cr end to end), each once. */
export class Y4mReader implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly header: Y4mHeader;
  readonly #queue: ByteQueue;
  readonly #name: string;

  private constructor(header: Y4mHeader, queue: ByteQueue, name: string) {
    this.header = header;
    this.#queue = queue;
    this.#name = name;
  }

  /**
   * Reads the header. `name` stands for the stream in errors.
   * @throws {ModelFormatError} for another format, a size beyond 16384 a side, or a colour space of more than 8 bits.
   */
  static async open(stream: AsyncIterable<Uint8Array>, name = "y4m"): Promise<Y4mReader> {
    const queue = new ByteQueue(stream);
    const line = await queue.line(10, maxLine);
    if (!line) {
      await queue.cancel();
      throw new ModelFormatError(
        `${name}: no header line in the first ${maxLine} bytes, expected YUV4MPEG2`,
      );
    }
    try {
      return new Y4mReader(parseHeader(new TextDecoder().decode(line), name), queue, name);
    } catch (error) {
      await queue.cancel();
      throw error;
    }
  }

  /** Ends the source, which may not have been read at all. */
  async cancel(): Promise<void> {
    await this.#queue.cancel();
  }

  /**
   * The frames. Leaving the loop early cancels the source.
   * @throws {ModelFormatError} at the first frame that is damaged or cut short, after all whole ones.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const bytes = y4mFrameBytes(this.header);
    try {
      for (let index = 0;; index++) {
        const start = this.#queue.offset;
        if (!(await this.#queue.fill(1))) return;
        const line = await this.#queue.line(10, maxLine);
        const text = line && new TextDecoder().decode(line);
        if (text === undefined || !/^FRAME( |$)/.test(text)) {
          throw new ModelFormatError(
            `${this.#name}: frame ${index} at byte ${start} begins ${
              JSON.stringify(text?.slice(0, 16) ?? "without a line end")
            }, expected FRAME`,
          );
        }
        const frame = await this.#queue.take(bytes);
        if (!frame) {
          throw new ModelFormatError(
            `${this.#name}: frame ${index} ends after ${this.#queue.held} bytes, expected ${bytes}`,
          );
        }
        yield frame;
      }
    } finally {
      await this.#queue.cancel();
    }
  }
}

function parseHeader(line: string, name: string): Y4mHeader {
  const bad = (field: string, met: string, expected: string) =>
    new ModelFormatError(`${name}: ${field} is ${met}, expected ${expected}`);
  const [magic, ...tags] = line.split(" ");
  if (magic !== "YUV4MPEG2") throw bad("magic", JSON.stringify(magic.slice(0, 16)), "YUV4MPEG2");
  const tag = (letter: string) => tags.find((t) => t[0] === letter)?.slice(1);
  const side = (letter: string, field: string) => {
    const text = tag(letter) ?? "absent";
    const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
    if (!(value >= 1 && value <= maxSide)) throw bad(field, text, `1 to ${maxSide}`);
    return value;
  };
  const ratio = (letter: string): readonly [number, number] => {
    const text = tag(letter);
    if (text === undefined) return [0, 0];
    const match = /^(\d{1,10}):(\d{1,10})$/.exec(text);
    if (!match) throw bad(`${letter} tag`, text, "two integers N:D");
    return [Number(match[1]), Number(match[2])];
  };
  const colour = tag("C");
  const layout = Object.hasOwn(layouts, colour ?? "420") ? layouts[colour ?? "420"] : undefined;
  if (layout === undefined) {
    throw bad("colour space", String(colour), Object.keys(layouts).join(", "));
  }
  return {
    width: side("W", "width"),
    height: side("H", "height"),
    layout,
    ...(colour === undefined ? {} : { colour }),
    rate: ratio("F"),
    interlacing: tag("I") ?? "p",
    aspect: ratio("A"),
    comments: tags.filter((t) => t[0] === "X").map((t) => t.slice(1)),
  };
}

/** A stream's first line, with its line end. */
export function encodeY4mHeader(header: Y4mHeader): Uint8Array<ArrayBuffer> {
  const { width, height, layout, colour, rate, interlacing, aspect, comments } = header;
  const tags = [
    `W${width}`,
    `H${height}`,
    `F${rate.join(":")}`,
    `I${interlacing}`,
    `A${aspect.join(":")}`,
    `C${colour ?? layout}`,
    ...comments.map((text) => `X${text}`),
  ];
  return new TextEncoder().encode(`YUV4MPEG2 ${tags.join(" ")}\n`);
}

/** What stands before each frame's bytes. */
export const y4mFrameMark: Uint8Array<ArrayBuffer> = new TextEncoder().encode("FRAME\n");
