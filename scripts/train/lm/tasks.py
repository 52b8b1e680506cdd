"""Generators of long-context tasks in the spirit of RULER (Hsieh et al. 2024): each returns the statements to hide
and questions with their answers. `facts` is how many statements to aim for, `queries` how many questions at most."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.train.lm.chains import qa, variable_tracking
from scripts.train.lm.everyday import everyday
from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.lists import common_words, frequent_words, key_value
from scripts.train.lm.needles import multi_key, multi_query, multi_value, passkey, recall, scattered, single_needle
from scripts.train.lm.sample import Sample

Generator = Callable[[Random, Lexicon, int, int], Sample]

#: Family name to generator and its share of generated sequences: short ones, and those of `LONG` tokens or more.
FAMILIES: dict[str, tuple[Generator, float, float]] = {
    "single_needle": (single_needle, 6, 16),
    "scattered": (scattered, 9, 18),
    "multi_key": (multi_key, 22, 20),
    "recall": (recall, 1, 1),
    "multi_value": (multi_value, 20, 18),
    "multi_query": (multi_query, 11, 10),
    "variable_tracking": (variable_tracking, 15, 14),
    "key_value": (key_value, 3, 6),
    "passkey": (passkey, 8, 10),
    "qa": (qa, 8, 8),
    "common_words": (common_words, 3, 3),
    "frequent_words": (frequent_words, 1, 1),
    "everyday": (everyday, 0, 0),
}
LONG = 16384
#: Families whose statements are shorter than a fact or share a turn: this many times as many fill the same room.
DENSITY = {"common_words": 6, "frequent_words": 8, "variable_tracking": 1.5, "recall": 2, "multi_value": 1.5,
           "key_value": 0.5}
#: Families with few questions a context: short contexts are packed, so that a row holds several.
PACKED = ("common_words", "frequent_words", "single_needle", "passkey")
#: Families with one fact in a context.
LONE = ("single_needle", "passkey")
#: Families whose questions may not say what they ask for: nothing else stands in their contexts.
ALONE = ("passkey",)


def sample_texts(count: int, words: list[str]) -> list[str]:
    """Generated text that shows the tokenizer the tasks' wording; `words` are those of training."""
    from scripts.train.lm.instructions import instruction

    rng, lexicon = Random(7), Lexicon(words, "train", "train")
    texts = [f"{role}\n" for role in ("user", "assistant", "system") for _ in range(count)]
    for _ in range(count):
        for family in ("multi_key", "multi_value", "multi_query", "variable_tracking", "passkey", "qa"):
            sample = FAMILIES[family][0](rng, lexicon, 4, 2)
            texts += sample.statements + [text for turn in sample.turns for text in turn[:2]]
        texts += [turn.question for turn in instruction(rng, lexicon).turns]
    return texts
