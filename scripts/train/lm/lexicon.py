"""Words, names, numbers and identifiers that the generated tasks are made of. Everything comes in two disjoint
splits, one for training and one for evaluation."""

from __future__ import annotations

import re
import string
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from scripts.train.lm.grammar import WORDINGS

Split = Literal["train", "held_out"]

FIRST_NAMES: list[str] = WORDINGS["firstNames"]
#: Share of training's words that are common ones, and how many words are.
COMMON, COMMON_WORDS = 0.25, 0.1


def is_held_out(word: str) -> bool:
    """One word in ten, by a hash of the word, belongs to evaluation."""
    return zlib.crc32(word.encode()) % 10 == 0


def corpus_words(texts: list[str], minimum: int = 12) -> list[str]:
    """Lower-case words of 3 to 10 letters that occur at least `minimum` times, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(r"(?<![\w'-])[a-z]{3,10}(?![\w'-])", text))
    return sorted(word for word, count in counts.items() if count >= minimum)


def common_words(texts: list[str], words: list[str]) -> list[str]:
    """The tenth of `words` that the texts hold most often, most often first."""
    known = set(words)
    counts = Counter(word for text in texts for word in re.findall(r"[a-z]+", text) if word in known)
    return [word for word, _ in counts.most_common(int(COMMON_WORDS * len(words)))]


@dataclass(frozen=True)
class Lexicon:
    """Draws the parts of facts: words and numbers of one split. `wording` says which templates go with them."""

    words: list[str]
    split: Split
    wording: Split
    #: Sentences that facts of training are stated in (see `prose.py`).
    sentences: tuple[str, ...] = ()
    #: Words that running text is full of: a key among them stands in the filler of its context many times.
    common: tuple[str, ...] = ()

    @staticmethod
    def of(words: list[str], split: Split, wording: Split) -> Lexicon:
        return Lexicon([word for word in words if is_held_out(word) == (split == "held_out")], split, wording)

    def word(self, rng: Random) -> str:
        words = self.common if self.common and rng.random() < COMMON else self.words
        return words[int(rng.random() * len(words))]

    @cached_property
    def verbs(self) -> list[tuple[str, str]]:
        """Words of the corpus with the past tense in -ed that stands there too."""
        known = set(self.words)
        return [(word, past) for word in self.words
                if (past := word + ("d" if word.endswith("e") else "ed")) in known]

    def pair(self, rng: Random) -> str:
        """Two words and a hyphen, like `quiet-harbour`."""
        return f"{self.word(rng)}-{self.word(rng)}"

    def number(self, rng: Random, low: int = 4, high: int = 8) -> str:
        """Between `low` and `high` digits; every eleventh number belongs to evaluation."""
        while True:
            digits = rng.randint(low, high)
            value = rng.randrange(10 ** (digits - 1), 10**digits)
            if (value % 11 == 0) == (self.split == "held_out"):
                return str(value)

    def uuid(self, rng: Random) -> str:
        digits = f"{rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def short_hex(self, rng: Random) -> str:
        return f"{rng.getrandbits(32):08x}"

    def code(self, rng: Random) -> str:
        """Letters and digits, like `QX-482-ZB`."""
        letters = "".join(rng.choices(string.ascii_uppercase, k=4))
        return f"{letters[:2]}-{rng.randint(100, 999)}-{letters[2:]}"

    def variable(self, rng: Random) -> str:
        return "".join(rng.choices(string.ascii_uppercase, k=5))

    def person(self, rng: Random) -> str:
        """First name and a capitalised corpus word as family name."""
        return f"{rng.choice(FIRST_NAMES)} {self.word(rng).capitalize()}"

    def distinct(self, draw: str, count: int, rng: Random) -> list[str]:
        """`count` different values of the named kind."""
        method = getattr(self, draw)
        found: dict[str, None] = {}
        while len(found) < count:
            found[method(rng)] = None
        return list(found)
