"""The training texts as one file: token ids of every text and the words that generated tasks are made of.

    python -m scripts.train.lm.prepare --data DIR --tokenizer FILE --out FILE
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from scripts.train.lm.corpus import training_texts
from scripts.train.lm.lexicon import corpus_words
from scripts.train.lm.tokenizer import FastEncoder


@dataclass
class Corpus:
    """Name to token ids (`uint16`), and the lower-case words of all texts, of both splits."""

    texts: dict[str, np.ndarray]
    words: list[str]

    @staticmethod
    def load(path: Path) -> Corpus:
        with np.load(path) as saved:
            return Corpus({name.removeprefix("text/"): saved[name] for name in saved.files if name.startswith("text/")},
                          str(saved["words"]).split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    texts = training_texts(a.data)
    encode = FastEncoder(Tokenizer.from_file(str(a.tokenizer)))
    ids = {f"text/{name}": encode.corpus(text) for name, text in texts.items()}
    np.savez_compressed(a.out, words=np.array(" ".join(corpus_words(list(texts.values())))), **ids)
    print(f"{a.out}: {sum(map(len, ids.values()))} tokens, {a.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
