"""What a task generator returns."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Sample:
    """Statements to be spread over a context, in this order, and the questions about them.

    `filler`: whether other text may stand between the statements. `intro` stands before the context."""

    statements: list[str]
    turns: list[tuple[str, str]]
    intro: str = ""
    filler: bool = True
    #: Index into `statements` of the fact each turn needs first; -1 where that means nothing.
    evidence: list[int] = field(default_factory=list)
