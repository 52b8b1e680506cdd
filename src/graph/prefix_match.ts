import type { ChainNode, Fill } from "./node.ts";

/**
 * Characters per hashed block within one fill. About four 64-token pages: finer blocks would find a little more of a
 * prefix that ends inside a fill, and cost the planner as much more.
 */
const BLOCK_CHARS = 1024;

/** A prefix of a prompt: equal keys mean equal text. */
export interface PrefixKey {
  key: number;
  /** Characters from the start of the prompt to the end of this prefix. */
  chars: number;
}

/** Prefixes shorter than this are not looked for: they do not fill one 64-token page. */
const MIN_CHARS = 256;

/** The prefixes of a prompt at which sharing is looked for, shortest first, and the length of all of it. */
export interface PromptPrefixes {
  keys: PrefixKey[];
  chars: number;
}

/**
 * The prefixes of a chain's prompt: every variable boundary, and every block within a long fill. Keys chain over
 * content, so that two calls share whatever text they begin with, whether it came from the same variable, an equal
 * one, or the template; engines then share by tokens, to the exact page. Each content is hashed once in its life; a
 * chain then costs one multiplication per block. Keys of different scopes never meet.
 */
export function promptPrefixes(chain: ChainNode, scope = ""): PromptPrefixes {
  const chainer = new KeyChain(scope === "" ? 0 : hashText(scope));
  append(chain, chainer);
  return { keys: chainer.keys, chars: chainer.chars };
}

class KeyChain {
  readonly keys: PrefixKey[] = [];
  chars = 0;
  #key: number;

  constructor(seed: number) {
    this.#key = seed;
  }

  push(blocks: readonly number[], length: number): void {
    const start = this.chars;
    for (let i = 0; i < blocks.length; i++) {
      this.#key = mix(this.#key, blocks[i]);
      const chars = start + Math.min((i + 1) * BLOCK_CHARS, length);
      if (chars >= MIN_CHARS) this.keys.push({ key: this.#key, chars });
    }
    this.chars = start + length;
  }
}

function append(chain: ChainNode, keys: KeyChain): void {
  if (chain.previous) {
    append(chain.previous, keys);
    const text = chain.previous.raw?.text ?? chain.previous.generate.output.value;
    keys.push(hashBlocks(text), text.length);
  }
  for (const fill of chain.fills) keys.push(fillBlocks(fill), fillText(fill).length);
}

/** The text of a fill. Throws when its variable has no value. */
export function fillText(fill: Fill): string {
  return fill.kind === "constant" ? fill.text : fill.variable.value;
}

function fillBlocks(fill: Fill): readonly number[] {
  if (fill.kind === "constant") return fill.blocks ??= hashBlocks(fill.text);
  return fill.variable.blocks ??= hashBlocks(fill.variable.value);
}

function hashBlocks(text: string): number[] {
  const blocks: number[] = [];
  for (let at = 0; at < text.length; at += BLOCK_CHARS) {
    blocks.push(hashText(text, at, Math.min(at + BLOCK_CHARS, text.length)));
  }
  return blocks;
}

/** A 53-bit hash of text[start, end): two multiplicative halves, mixed at the end. */
export function hashText(text: string, start = 0, end: number = text.length): number {
  let a = 0x9e3779b9 ^ (end - start);
  let b = 0x85ebca6b;
  for (let i = start; i < end; i++) {
    const c = text.charCodeAt(i);
    a = Math.imul(a ^ c, 0x9e3779b1);
    b = Math.imul(b ^ c, 0x5f356495);
  }
  return join(a, b);
}

function mix(a: number, b: number): number {
  const low = Math.imul((a ^ (b + 0x7f4a7c15)) | 0, 0x9e3779b1) ^ (b | 0);
  const high = Math.imul(Math.floor(a / 2 ** 32) ^ Math.floor(b / 2 ** 32) ^ low, 0x85ebca6b);
  return join(low, high ^ (a | 0));
}

function join(a: number, b: number): number {
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b & 0x1fffff) * 2 ** 32 + (a >>> 0);
}
