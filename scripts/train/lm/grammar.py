"""Wordings composed by the context-free grammar of `wordings.json`, shared with the evaluation.

A rule is a list of alternatives, each a text or a pair of weight and text. `<rule>` stands for another rule, `<word>` for
a random word; `{k}` and the like are places that the caller fills. `[[a|b]]` gives two texts that agree in all else.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from random import Random

_SYMBOL = re.compile(r"<([a-z_]+)>")
_PAIR = re.compile(r"\[\[(.*?)\|(.*?)\]\]")

#: Everything in the file, for the modules that hold its parts.
WORDINGS = json.loads((Path(__file__).parent / "wordings.json").read_text(encoding="utf-8"))


class Grammar:
    """Expands rules; `rules` maps a name to its alternatives."""

    def __init__(self, rules: dict[str, list]) -> None:
        self._rules: dict[str, tuple[list[float], list[list[str]]]] = {}
        for name, alternatives in rules.items():
            weighted = [(1, each) if isinstance(each, str) else each for each in alternatives]
            # Odd places of a split text are the names of rules.
            self._rules[name] = (list(accumulate(weight for weight, _ in weighted)),
                                 [_SYMBOL.split(text) for _, text in weighted])
        for _, texts in self._rules.values():
            for parts in texts:
                for name in parts[1::2]:
                    if name != "word" and name not in self._rules:
                        raise ValueError(f"wordings.json: no rule <{name}>")

    def expand(self, rule: str, rng: Random, word: Callable[[Random], str]) -> str:
        """One text of `rule`; `word` draws what stands for `<word>`."""
        if rule == "word":
            return word(rng)
        sums, texts = self._rules[rule]
        parts = texts[bisect(sums, rng.random() * sums[-1])]
        return "".join(part if index % 2 == 0 else self.expand(part, rng, word) for index, part in enumerate(parts))


def fill(wording: str, **values: str) -> str:
    """Puts values into a wording's `{name}` places."""
    for name, value in values.items():
        wording = wording.replace(f"{{{name}}}", value)
    return wording


def sentence(text: str) -> str:
    """Upper-cases the first letter, unless the text begins with a place to fill."""
    return text[:1].upper() + text[1:]


def both(text: str) -> tuple[str, str]:
    """The two texts that `[[a|b]]` stands for."""
    return _PAIR.sub(r"\1", text), _PAIR.sub(r"\2", text)
