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

// Letters with a case, as DeepSeek-LLM's tokenizer file lists them: Unicode's Lu, Ll and Lt but for some blocks.
const deepseekLetters =
  String.raw`A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-` +
  String.raw`\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-` +
  String.raw`\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5` +
  String.raw`\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00` +
  String.raw`-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-` +
  String.raw`\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-` +
  String.raw`\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-` +
  String.raw`\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149` +
  String.raw`\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d` +
  String.raw`\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13` +
  String.raw`-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-` +
  String.raw`\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-` +
  String.raw`\u{1e943}`;
const deepseekCjk = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const bloom = String.raw` ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+`;

interface Scheme {
  names: string[];
  patterns: string[];
  /** A word that is a token as it stands is that token, whatever the merges would make of it. */
  wholeWords?: boolean;
  /** Whether a beginning-of-sequence token is added when the metadata does not say. */
  addBos?: boolean;
  /** Characters are composed (NFC) first: `e` and an accent become one. GGUF has no field for what tokenizer files call their normalizer. */
  composes?: boolean;
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
  { names: ["qwen2"], patterns: [gpt4(String.raw`\p{N}`)], composes: true },
  {
    names: [
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
  {
    names: ["seed-coder"],
    patterns: [
      String
        .raw`${anyContraction}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|${spaces}`,
    ],
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
      String.raw`\s?[!-\/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+`,
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
  /** Whether text is to be in Unicode's form C. */
  readonly composes: boolean;
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
    composes: scheme.composes ?? false,
    split: (text, emit) => cut(text, stages, 0, emit),
  };
}

/** Every name that {@linkcode pretokenizer} knows. */
export const pretokenizerNames: readonly string[] = schemes.flatMap((s) => s.names);
