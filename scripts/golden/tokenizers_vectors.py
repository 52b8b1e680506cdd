"""Writes tests/golden/tokenizers: small vocabularies trained on the text below, and what the reference libraries make of
hard strings with them.

    pip install tokenizers==0.23.* sentencepiece==0.2.*
    python scripts/golden/tokenizers_vectors.py tests/golden/tokenizers

bpe.json   Byte-level BPE from Hugging Face `tokenizers`: one vocabulary, encoded under the pre-tokenizers that published
           tokenizer files give for each `tokenizer.ggml.pre` name. It is trained without any pre-tokenizer, so that its
           tokens span words and every difference in where words are cut shows in the ids.
spm.json   BPE with byte fallback from Google's `sentencepiece`, set up as for LLaMA.
"""

import io
import json
import pathlib
import sys
import unicodedata

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = """\
The sparrow sat on the garden wall and watched the rain run down the stones. It wasn't cold, but it wasn't warm either.
"We'll wait," said the sparrow, "and they'll come; they've always come, and I'd know: I'm here every day, they're not."
When the rain stopped, the children ran out of the house, and the garden was full of noise, of boots, of muddy water.
HE SAID IT'S LATE; SHE'D SAY THEY'RE EARLY. HTMLParser, readFileSync, getUserById and snake_case_names are words too.
In 1903 there were 12 birds; in 1987 there were 1,204; in 2024 there were 10000000 or so. 3.14159 is not 22/7. 50% off!
for (let i = 0; i < items.length; i++) {
    if (items[i] === undefined) { return null; }
        // eight spaces before this comment, and    four inside it
}
def count(words):
\treturn {word: words.count(word) for word in set(words)}  # tabs and two spaces
Der Spatz saß auf der Gartenmauer und sah zu, wie der Regen über die Steine lief. Größe, Übermut, Straße, Käse.
Le moineau était posé sur le mur du jardin ; l'été, il n'y a pas d'eau, et ça n'est pas grave. Où est le cœur de Noël ?
El gorrión miró la lluvia. ¿Quién viene? ¡Mañana vendrán los niños! El pingüino también.
Воробей сидел на садовой стене и смотрел на дождь. Дети выбежали из дома, и сад наполнился шумом.
Το σπουργίτι καθόταν στον τοίχο του κήπου και κοίταζε τη βροχή.
麻雀坐在花园的墙上看雨。雨停了，孩子们从屋里跑出来。花园里很热闹。
雀は庭の塀に座って雨を見ていた。雨がやむと、子供たちが家から走り出てきた。カタカナも少し。
참새가 정원 담장에 앉아 비를 바라보았다. 비가 그치자 아이들이 집에서 뛰어나왔다.
जब बारिश रुकी तो बच्चे घर से बाहर भागे और बगीचा शोर से भर गया।
جلس العصفور على جدار الحديقة يراقب المطر. ثم خرج الأطفال.
ישב הדרור על חומת הגן והביט בגשם.
นกกระจอกเกาะอยู่บนกำแพงสวนดูฝนตก
🐦 sings 🎵 and 👩‍👩‍👧‍👦 listens 👍🏽 🇫🇷 ❤️ 🦙.
"""

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\t\n", " \n", "\n ", " \n \n ", "  \t  \n",
    "a", " a", "a ", "  a", "a  b", "a   b", "a\nb", "a \n b", "a\r\nb", "a\rb", "a\n\n\nb", "a    \n    b", "x" + " " * 40 + "y",
    "The sparrow sat on the wall.", " the rain", "THE RAIN", "The RAIN stopped", "we'll they've I'd I'm they're it's don't",
    "WE'LL THEY'VE I'D I'M THEY'RE IT'S DON'T", "'s 't 'S'T 'lloyd 'Llama o'clock rock'n'roll ''' 'd've",
    "\u2019s we\u2019ll", "0", "12", "123", "1234", "12345", "1234567890", "3.14159", "1,000,000", "a1b22c333d4444", "\u00bd\u00b2\u2167\u0663\u0664\u0665\u0966",
    "HTMLParser getUserById snake_case_name XMLHttpRequest iPhone McDonald's \u01c5ungla",
    "for (let i = 0; i < n; i++) {\n    x[i] += y?.[i] ?? 0;\n\t\treturn;\n}\n", "a=b==c===d!=e<=f>=g&&h||i^j~k`l@m#n$o%p\\q/r",
    "...!!!???---___***///", " !  ?   .", "https://example.org/a/b?c=d&e=f#g", "<|im_start|>user<|im_end|>", "$+<=>^~|", "(a) [b] {c} \u00abd\u00bb \u201ce\u201d",
    "Stra\u00dfe Gr\u00f6\u00dfe \u00dcbermut", "l'\u00e9t\u00e9, o\u00f9 est le c\u0153ur ?", "e\u0301 vs \u00e9, a\u0308o\u0308u\u0308, Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349",
    "\u0412\u043e\u0440\u043e\u0431\u0435\u0439 \u0441\u0438\u0434\u0435\u043b", "\u9ebb\u96c0\u5750\u5728\u5899\u4e0a\u3002\u96e8\u505c\u4e86\uff0c\u5929\u6674\uff01", "\u96c0\u306f\u5ead\u306b\u3044\u305f\u3002\u30ab\u30bf\u30ab\u30ca\u3068\u3072\u3089\u304c\u306a",
    "\u4e2d\u6587abc\u4e2d\u6587123", "\ucc38\uc0c8\uac00 \uc815\uc6d0", "\u091c\u092c \u092c\u093e\u0930\u093f\u0936 \u0930\u0941\u0915\u0940", "\u062c\u0644\u0633 \u0627\u0644\u0639\u0635\u0641\u0648\u0631\u060c \u062b\u0645", "\u05d9\u05e9\u05d1 \u05d4\u05d3\u05e8\u05d5\u05e8", "\u0e19\u0e01\u0e01\u0e23\u0e30\u0e08\u0e2d\u0e01",
    "\U0001f426 \U0001f3b5\U0001f3b5 \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \U0001f1eb\U0001f1f7 \u2764\ufe0f", "\U0001d400\U0001d401\U0001d402 \U00010400\U00010428 \U0001f999",
    "a\u00a0b \u2003c\u3000d\u2028e\u2029f\u0085g\ufeffh\u200bi\u00adj", "\ufeffstart", "\u0000\u0001\u007f\u0080\u009f", "\ue000\uf8ff\ufffd\uffff\U0010ffff",
    "\u2581a \u2581 b\u2581\u2581c", "\uff21\uff22\uff43 \uff11\uff12\uff13 \uff01", "ab" * 40, "ha" * 33 + "!", "=" * 70, "\u96e8" * 30,
    "The children ran out of the house, and the garden was full of noise.\r\n\r\n  \"They've always come,\" it said.\n",
]

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LEAD, UPPER, LOWER = r"[^\r\n\p{L}\p{N}]?", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)


def split(*patterns):
    return [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]


def byte_level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def digits():
    return pre_tokenizers.Digits(individual_digits=True)


PRETOKENIZERS = {
    "gpt-2": [byte_level(True)],
    "smollm": [digits(), byte_level(True)],
    "llama-bpe": split(LLAMA3) + [byte_level()],
    "smaug-bpe": split(LLAMA3) + [byte_level()],
    "qwen2": split(LLAMA3.replace("{1,3}", "")) + [byte_level()],
    "seed-coder": split(LLAMA3.replace("{1,3}", "{1}").replace(r"\p{N}]+[\r\n]*", r"\p{N}\r\n]+")) + [byte_level()],
    "tekken": split(f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*|\\p{{N}}{REST}") + [byte_level()],
    "gpt-4o": split(f"{LEAD}{UPPER}*{LOWER}+{CONTRACTION}|{LEAD}{UPPER}+{LOWER}*{CONTRACTION}|\\p{{N}}{{1,3}}{REST}")
    + [byte_level()],
    "deepseek-coder": split(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+") + [digits(), byte_level()],
    "deepseek-v3": split(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3) + [byte_level()],
    "bloom": split(r" ?[^(\s|[.,!?…。，、।۔،])]+") + [byte_level()],
}
# Those whose published file sets `ignore_merges`.
WHOLE_WORDS = {"llama-bpe", "tekken"}
# Those whose published file normalises to NFC.
COMPOSED = {"qwen2"}


def bpe():
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(split("\n") + [byte_level()])
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, max_token_length=12
    )
    trained.train_from_iterator([CORPUS], trainer)
    model = json.loads(trained.to_str())["model"]
    vocab, merges = model["vocab"], model["merges"]
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]

    ids = {}
    for name, steps in PRETOKENIZERS.items():
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=name in WHOLE_WORDS))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        tokenizer.decoder = decoders.ByteLevel()
        if name in COMPOSED:
            tokenizer.normalizer = normalizers.NFC()
        ids[name] = [tokenizer.encode(text).ids for text in TEXTS]
        for text, tokens in zip(TEXTS, ids[name]):
            form = unicodedata.normalize("NFC", text) if name in COMPOSED else text
            assert tokenizer.decode(tokens) == form, (name, text)
    tokens = [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])]
    return {"tokens": tokens, "merges": [" ".join(p) for p in pairs], "texts": TEXTS, "ids": ids}


def spm():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=640,
        character_coverage=0.98,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        user_defined_symbols=["<tool>", "<tool_call>"],
        minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    def token_type(i):
        # The numbers of `tokenizer.ggml.token_type`.
        if sp.is_unknown(i):
            return 2
        if sp.is_control(i):
            return 3
        if sp.is_byte(i):
            return 6
        return 4 if sp.id_to_piece(i) in ("<tool>", "<tool_call>") else 1

    count = sp.get_piece_size()
    return {
        "tokens": [sp.id_to_piece(i) for i in range(count)],
        "scores": [sp.get_score(i) for i in range(count)],
        "types": [token_type(i) for i in range(count)],
        "texts": TEXTS,
        "ids": [sp.encode(text) for text in TEXTS],
        "decoded": [sp.decode(sp.encode(text)) for text in TEXTS],
    }


def main(folder):
    for name, golden in (("bpe", bpe()), ("spm", spm())):
        # One line per value: small, and a change shows where it is.
        lines = []
        for key, value in golden.items():
            if key == "ids" and isinstance(value, dict):
                inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in value.items())
                lines.append(f"{json.dumps(key)}: {{\n{inner}\n}}")
            else:
                lines.append(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}")
        (pathlib.Path(folder) / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
