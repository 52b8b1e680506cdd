"""Facts and questions as people write them, listed by hand; only evaluation asks them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.sample import Sample, Turn

_FACTS: list[list[str]] = json.loads((Path(__file__).parents[2] / "eval/lm/everyday.json").read_text(encoding="utf-8"))


def everyday(rng: Random, _lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Statements, and of each a question with a value; the same in both splits of wording."""
    drawn = rng.sample(_FACTS, min(facts, len(_FACTS)))
    turns = [Turn(question, value, (value,)) for _, question, value in drawn]
    rng.shuffle(turns)
    return Sample([statement for statement, _, _ in drawn], turns[:queries])
