"""Draws wordings of both splits. Those of training are composed by the grammar of `wordings.json`; the held-out ones are
a list there, each with a word that no rule of its family can write.

Keys and values always follow a space, in statement, question and answer alike: the tokenizer spells a word with and
without a leading space differently, and what is to be copied should be the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from scripts.train.lm.grammar import WORDINGS, Grammar, both, fill, sentence
from scripts.train.lm.lexicon import Lexicon

GRAMMAR = Grammar(WORDINGS["rules"])
#: Forms that training never sees; each is a list of texts.
HELD_OUT: dict[str, list[list[str]]] = {
    family: [[text for text, _ in form] for form in forms] for family, forms in WORDINGS["heldOut"].items()}
#: What is stored under a key: noun, then the kind of value. Evaluation asks for the first, training also for more.
NOUNS: list[tuple[str, str]] = [(noun, kind) for noun, kind in WORDINGS["nouns"]]
TRAINING_NOUNS: list[tuple[str, str]] = [*NOUNS, *((noun, kind) for noun, kind in WORDINGS["trainingNouns"])]
PASSKEY_NOUNS: list[str] = WORDINGS["passkeyNouns"]
#: Appended to a question; the flag says whether the answer is short.
STYLES: list[tuple[str, bool]] = [(suffix, short) for suffix, short in WORDINGS["styles"]]
#: What may stand before a context.
INTROS: list[str] = ["", "", "", *WORDINGS["intros"]]
#: How many wordings one context mixes: mostly one, as in evaluation.
_MIX = ((1, 2, 4, 64), (68, 14, 10, 8))


class Relation(NamedTuple):
    """Objects, clauses with their own questions, questions that fit any clause, and held-out clauses with questions."""

    objects: list[str]
    forms: list[list[str]]
    questions: list[str]
    held_out: list[list[str]]


RELATIONS: dict[str, Relation] = {
    name: Relation(each["objects"], each["forms"], each["questions"],
                   [[text for text, _ in form] for form in each["heldOut"]])
    for name, each in WORDINGS["relations"].items()}
#: Words that tell a held-out wording; the grammar never writes them, not even where it writes random words.
MARKERS = frozenset(marker for forms in (*WORDINGS["heldOut"].values(),
                                         *(each["heldOut"] for each in WORDINGS["relations"].values()))
                    for form in forms for _, marker in form)


def unmarked_word(rng: Random, lexicon: Lexicon) -> str:
    """A random word that tells no held-out wording."""
    while (found := lexicon.word(rng)) in MARKERS:
        pass
    return found


_PLACES = ("{k}", "{v}", "{x}", "{y}", "[[{v}", "[[{y}")


def compose(rule: str, rng: Random, lexicon: Lexicon) -> str:
    """A text of the rule that begins with a capital, with a word before a key or value that would begin it. Training
    also draws wordings whose words are random, from the rule's `_any`."""
    if lexicon.split == "train" and f"{rule}_any" in WORDINGS["rules"]:
        rule += "_any"

    def word(rng: Random) -> str:
        return unmarked_word(rng, lexicon)

    text = start(GRAMMAR.expand(rule, rng, word), rng, word)
    return text if "->" in text or "=" in text else sentence(text)


def start(text: str, rng: Random, word: Callable[[Random], str]) -> str:
    """The text, with a word before a key or value that would begin it."""
    return f"{GRAMMAR.expand('lead', rng, word)} {text}" if text.startswith(_PLACES) else text


class Wordings:
    """The wordings of one context: statements come from a small set, every question is new."""

    def __init__(self, family: str, statement: str, question: str, rng: Random, lexicon: Lexicon) -> None:
        self._rng, self._lexicon, self._question = rng, lexicon, question
        self._forms: list[list[str]] = []
        if lexicon.wording == "held_out":
            self._forms = [rng.choice(HELD_OUT[family])]
            return
        for _ in range(rng.choices(*_MIX)[0]):
            text = compose(statement, rng, lexicon)
            self._forms.append([*both(text), ""] if family == "variables" else [text, ""])

    def statement(self) -> list[str]:
        """A statement's text; for assignments the one that sets a value and the one that copies."""
        return self._rng.choice(self._forms)[:-1]

    def question(self) -> str:
        own = self._forms[0][-1]
        return own if own else compose(self._question, self._rng, self._lexicon)


def question(family: str, rule: str, rng: Random, lexicon: Lexicon) -> str:
    """A question of a family whose statements have no wording of their own."""
    if lexicon.wording == "held_out":
        return rng.choice(HELD_OUT[family])[0]
    return compose(rule, rng, lexicon)


def framed(clause: str, rng: Random, lexicon: Lexicon) -> str:
    """A clause as a sentence, with what may stand around it in training."""
    if lexicon.wording == "held_out":
        return sentence(clause) + "."
    return sentence(fill(compose("relation_frame", rng, lexicon), c=clause))
