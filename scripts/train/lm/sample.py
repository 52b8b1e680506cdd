"""What a task generator returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Turn(NamedTuple):
    """A question, the full answer, and the values that an answer must contain to be right."""

    question: str
    answer: str
    values: tuple[str, ...] = ()


@dataclass
class Sample:
    """Statements to be spread over a context, in this order, and the questions about them.

    `filler`: whether other text may stand between the statements. `intro` stands before the context."""

    statements: list[str]
    turns: list[Turn]
    intro: str = ""
    filler: bool = True
