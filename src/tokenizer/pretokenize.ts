/**
 * How text is cut into words before byte-level BPE, by the name in `tokenizer.ggml.pre`. BPE never merges across words.
 *
 * Every entry is a list of patterns: each cuts every piece so far into its matches and what lies between them.
 * Patterns follow the models' published tokenizer files; `\s` means Unicode White_Space, as in the regex engines those
 * were written for (JavaScript's own differs at U+0085 and U+FEFF).
 * @module
 */

import { ModelFormatError } from "../common/errors.ts";

const lowerContraction = String.raw`'s|'t|'re|'ve|'m|'ll|'d`;
const anyContraction = String.raw`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])`;
const spaces = String.raw`\s+(?!\S)|\s+`;

const gpt2 = String.raw`${lowerContraction}| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|${spaces}`;

/** The shape that GPT-4 introduced: a word takes one leading symbol; numbers are cut by `digits`. */
const gpt4 = (digits: string, head = anyContraction + "|") =>
  String
    .raw`${head}[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|${spaces}`;

/** The shape that GPT-4o introduced: words are also cut where case turns from lower to upper. */
const cased = (digits: string, tail: string) => {
  const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
  const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
  const lead = String.raw`[^\r\n\p{L}\p{N}]?`;
  return String.raw`${lead}${upper}*${lower}+${tail}|${lead}${upper}+${lower}*${tail}|${digits}` +
    String.raw`| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|${spaces}`;
};

const deepseek3Words = String.raw`[!"#$%&'()*+,\-.\/:;<=>?@\[\\\]^_\x60{|}~][A-Za-z]+` +
  String.raw`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|${spaces}`;

// Letters with a case, block by block, as DeepSeek-LLM's tokenizer file lists them.
const deepseekLetters =
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ" +
  "Ḁ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛ" +
  "Ꜣ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";
const deepseekCjk = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const bloom = String.raw` ?[^(\s|.,!?…。，、।۔،)]+`;

interface Scheme {
  names: string[];
  patterns: string[];
  /** A word that is a token as it stands is that token, whatever the merges would make of it. */
  wholeWords?: boolean;
  /** Whether a beginning-of-sequence token is added when the metadata does not say. */
  addBos?: boolean;
}

const schemes: Scheme[] = [
  {
    names: ["default"],
    patterns: [String.raw`[\p{P}$+<=>^~|]+`, gpt2, String.raw`\p{N}+`, "[0-9][0-9][0-9]"],
  },
  {
    names: [
      "gpt-2",
      "phi-2",
      "mpt",
      "olmo",
      "jais",
      "trillion",
      "granite-docling",
      "gigachat",
      "a.x-4.0",
      "mellum",
      "modern-bert",
      "exaone4",
      "jina-es",
      "jina-de",
      "jina-v2-es",
      "jina-v2-de",
      "jina-v1-en",
      "jina-v2-code",
      "roberta-bpe",
    ],
    patterns: [gpt2],
  },
  {
    names: [
      "starcoder",
      "refact",
      "command-r",
      "smollm",
      "codeshell",
      "exaone",
      "minerva-7b",
      "mellum2",
    ],
    patterns: [String.raw`\p{N}`, gpt2],
  },
  {
    names: ["falcon"],
    patterns: [String.raw`[\p{P}$+<=>^~|\x60]+`, gpt2, "[0-9][0-9][0-9]"],
  },
  {
    names: [
      "llama-bpe",
      "llama3",
      "llama-v3",
      "falcon3",
      "falcon-h1",
      "pixtral",
      "midm-2.0",
      "lfm2",
    ],
    patterns: [gpt4(String.raw`\p{N}{1,3}`)],
    wholeWords: true,
    addBos: true,
  },
  { names: ["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"], patterns: [gpt4(String.raw`\p{N}{1,3}`)] },
  {
    names: [
      "qwen2",
      "stablelm2",
      "hunyuan",
      "deepseek-r1-qwen",
      "megrez",
      "grok-2",
      "solar-open",
      "kormo",
      "f2llmv2",
    ],
    patterns: [gpt4(String.raw`\p{N}`)],
  },
  { names: ["ufakzeka"], patterns: [gpt4(String.raw`\p{N}`, "")] },
  {
    names: ["minicpm5"],
    patterns: [String.raw`\p{N}{1,3}`, gpt4(String.raw`\p{N}+`)],
    wholeWords: true,
  },
  {
    names: ["tekken"],
    patterns: [cased(String.raw`\p{N}`, "")],
    wholeWords: true,
    addBos: true,
  },
  {
    names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
    patterns: [cased(String.raw`\p{N}{1,3}`, `(?:${anyContraction})?`)],
  },
  {
    names: ["deepseek-llm"],
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?[${deepseekLetters}]+`,
      String.raw`\s?[!-/:-~！-／：-～‘-‟　-。]+`,
      // The published `\s+$`, with a look-behind so that a long run of spaces elsewhere costs one attempt, not one each.
      String.raw`(?<!\s)\s+$`,
      deepseekCjk,
      String.raw`\p{N}+`,
    ],
  },
  {
    names: ["deepseek-coder"],
    patterns: [
      String.raw`[\r\n]`,
      String.raw`\s?\p{L}+`,
      String.raw`\s?\p{P}+`,
      deepseekCjk,
      String.raw`\p{N}`,
    ],
  },
  {
    names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
    patterns: [
      String.raw`\p{N}{1,3}`,
      "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      deepseek3Words,
    ],
  },
  { names: ["bloom", "poro-chat", "gpt3-finnish"], patterns: [bloom] },
  { names: ["viking"], patterns: [bloom, String.raw`\p{N}`] },
];

/** A way of cutting text into words. */
export interface Pretokenizer {
  readonly wholeWords: boolean;
  readonly addBos: boolean;
  /** Calls `emit` with each word of `text`, in order; the words concatenated are `text`. */
  split(text: string, emit: (word: string) => void): void;
}

function compile(pattern: string): RegExp {
  return new RegExp(
    pattern.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}"),
    "gu",
  );
}

function cut(
  text: string,
  stages: readonly RegExp[],
  stage: number,
  emit: (word: string) => void,
): void {
  if (stage === stages.length) {
    emit(text);
    return;
  }
  // exec with lastIndex kept here: inner stages may run the same expression only one level down, never this one.
  const pattern = stages[stage];
  let end = 0;
  for (pattern.lastIndex = 0;;) {
    const match = pattern.exec(text);
    if (match === null) break;
    const word = match[0];
    if (match.index > end) cut(text.slice(end, match.index), stages, stage + 1, emit);
    cut(word, stages, stage + 1, emit);
    end = match.index + word.length;
  }
  if (end < text.length) cut(text.slice(end), stages, stage + 1, emit);
}

/**
 * The pretokenizer called `name` in GGUF metadata; `file` is named in errors.
 * Throws `ModelFormatError` for a name this project does not know: guessing would give wrong tokens silently.
 */
export function pretokenizer(name: string, file = "metadata"): Pretokenizer {
  const scheme = schemes.find((s) => s.names.includes(name));
  if (!scheme) {
    throw new ModelFormatError(
      `${file}: tokenizer.ggml.pre is ${JSON.stringify(name)}, expected one of ` +
        schemes.flatMap((s) => s.names).join(", "),
    );
  }
  const stages = scheme.patterns.map(compile);
  return {
    wholeWords: scheme.wholeWords ?? false,
    addBos: scheme.addBos ?? false,
    split: (text, emit) => cut(text, stages, 0, emit),
  };
}

/** Every name that {@linkcode pretokenizer} knows. */
export const pretokenizerNames: readonly string[] = schemes.flatMap((s) => s.names);
