"""Wordings, shared with the evaluation: `wordings.json`. Of each list the last ones are kept for evaluation.

Keys and values always follow a space, in statement, question and answer alike: the tokenizer spells a word with and
without a leading space differently, and what is to be copied should be the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from scripts.train.lm.lexicon import Split

T = TypeVar("T")


class Fact(NamedTuple):
    """A wording of "the noun of key is value": statement, question, full answer."""

    statement: str
    question: str
    answer: str


_ALL = json.loads((Path(__file__).parent / "wordings.json").read_text(encoding="utf-8"))

#: How many wordings at the end of each list are held out.
HELD_OUT: int = _ALL["heldOut"]
#: What is stored under a key: noun, then the kind of value.
NOUNS: list[tuple[str, str]] = [(noun, kind) for noun, kind in _ALL["nouns"]]
FACTS = [Fact(**fact) for fact in _ALL["facts"]]
#: Appended to a question; the flag says whether the answer is short.
STYLES: list[tuple[str, bool]] = [(suffix, short) for suffix, short in _ALL["styles"]]
#: What may stand before a context.
INTROS: list[str] = ["", "", "", *_ALL["intros"]]
#: Question and answer.
MULTI_VALUE: list[list[str]] = _ALL["multiValue"]
#: The answer repeats the facts' own answer form, one key after the other.
MULTI_QUERY: list[str] = _ALL["multiQuery"]
#: Statement that sets a value, statement that copies, question, answer.
VARIABLES: list[list[str]] = _ALL["variables"]
#: Statement, question, answer.
PASSKEYS: list[list[str]] = _ALL["passkeys"]
#: Relation, then triples of statement, question, answer; the last triple is held out.
RELATIONS: list[tuple[str, list[list[str]]]] = [(name, wordings) for name, wordings in _ALL["relations"]]


def choose(items: Sequence[T], split: Split, rng: Random) -> T:
    """One wording of the split."""
    pool = items[:-HELD_OUT] if split == "train" else items[-HELD_OUT:]
    return pool[int(rng.random() * len(pool))]
