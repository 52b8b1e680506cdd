"""Lays a sample out as chat turns of tokens, with the loss weight of every token."""

from __future__ import annotations

from random import Random

import numpy as np

from scripts.train.lm.sample import Sample
from scripts.train.lm.tokenizer import FastEncoder


class Filler:
    """Running text that statements are hidden in, cut at sentence ends."""

    def __init__(self, ids: np.ndarray, sentence_ends: set[int]) -> None:
        self.ids = ids
        self._cuts = np.flatnonzero(np.isin(ids, np.fromiter(sentence_ends, dtype=np.uint16))) + 1

    def take(self, count: int, rng: Random) -> tuple[list[int], list[int]]:
        """`count` consecutive tokens that begin a sentence, and the places within them where one ends."""
        latest = int(np.searchsorted(self._cuts, len(self.ids) - count))
        if latest <= 0:
            raise ValueError(f"filler of {len(self.ids)} tokens cannot give {count}")
        first = int(rng.random() * latest)
        start = int(self._cuts[first])
        last = int(np.searchsorted(self._cuts, start + count))
        return self.ids[start:start + count].tolist(), (self._cuts[first + 1:last] - start).tolist()


class Dialogue:
    """Tokens and weights under construction."""

    def __init__(self, encode: FastEncoder, answer_weight: float) -> None:
        self.encode = encode
        self._answer_weight = answer_weight
        self.ids: list[int] = []
        self.weights: list[float] = []
        self.newline = encode("\n")
        self.heads = {role: encode(f"{role}\n") for role in ("system", "user", "assistant")}

    def add(self, ids: list[int], weight: float = 0.0) -> None:
        self.ids += ids
        self.weights += [weight] * len(ids)

    def open(self, role: str) -> None:
        self.add([self.encode.turn_start, *self.heads[role]])

    def close(self, weight: float = 0.0) -> None:
        self.add([self.encode.turn_end], weight)
        self.add(self.newline)

    def answer(self, text: str) -> None:
        self.open("assistant")
        self.add(self.encode(text), self._answer_weight)
        self.close(self._answer_weight)


SYSTEM = ("You are a helpful assistant.", "You are Sparrow, a small language model.", "Answer briefly.",
          "Use only the given text.", "You answer questions about a text.")


def add_turn(made: Dialogue, question: str, answer: str, first: bool) -> None:
    """A question and its answer; the first question shares the turn that holds the context."""
    if not first:
        made.open("user")
    made.add(made.encode(question))
    made.close()
    made.answer(answer)


def add_context(made: Dialogue, sample: Sample, length: int, filler: Filler | None, rng: Random,
                filler_weight: float = 0.0) -> None:
    """Opens the user's turn with the sample's statements, in filler that brings `made` to `length` tokens."""
    encode = made.encode
    if rng.random() < 0.15:
        made.open("system")
        made.add(encode(rng.choice(SYSTEM)))
        made.close()
    made.open("user")
    if sample.intro:
        made.add(encode(sample.intro + "\n"))
    inline = (sample.filler and rng.random() < 0.4
              and all(statement.endswith((".", ";")) for statement in sample.statements))
    statements = [encode(f" {statement}" if inline else f"{statement}\n") for statement in sample.statements]
    # Every statement on a line of its own may take a line break before it.
    breaks = 1 if inline else 1 + len(statements)
    room = length - len(made.ids) - sum(map(len, statements)) - breaks
    if filler is not None and sample.filler and room > 8:
        text, cuts = filler.take(room, rng)
        places = sorted(rng.choices([0, *cuts], k=len(statements)))
        done = 0
        for place, statement in zip(places, statements):
            made.add(text[done:place], filler_weight)
            # A statement on its own line begins one, unless the last thing written ended one.
            if not inline and made.ids[-1] != made.newline[-1]:
                made.add(made.newline)
            made.add(statement)
            done = place
        made.add(text[done:], filler_weight)
    else:
        if inline:
            statements[0] = encode(sample.statements[0])
        for statement in statements:
            made.add(statement)
    if statements:
        made.add(made.newline)


def dialogue(sample: Sample, length: int, encode: FastEncoder, filler: Filler | None, rng: Random,
             answer_weight: float = 1.0, filler_weight: float = 0.0) -> tuple[list[int], list[float]]:
    """At most `length` tokens and their loss weights: the context, then a turn for each question that fits. With
    `filler` the context is stretched so that `length` is met, give or take the line breaks."""
    head, tail = Dialogue(encode, answer_weight), Dialogue(encode, answer_weight)
    base = sum(len(encode(statement)) + 2 for statement in sample.statements) + len(encode(sample.intro)) + 40
    for index, (question, answer, _) in enumerate(sample.turns):
        before = len(tail.ids)
        add_turn(tail, question, answer, index == 0)
        if index > 0 and base + len(tail.ids) > length:
            del tail.ids[before:], tail.weights[before:]
            break
    add_context(head, sample, length - len(tail.ids), filler, rng, filler_weight)
    return (head.ids + tail.ids)[:length], (head.weights + tail.weights)[:length]
