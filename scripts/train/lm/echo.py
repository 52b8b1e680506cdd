"""Frames of random words around the places of a fact, and questions that repeat some, all or none of a frame's words:
what question and statement share then says nothing about which word is the key."""

from __future__ import annotations

import re
from random import Random

from scripts.train.lm.grammar import both, sentence
from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.prose import ProseFrame
from scripts.train.lm.templates import GRAMMAR, MARKERS, Wordings, compose, question, start, unmarked_word

#: Share of training contexts whose statements are such frames, of those in frames of real prose, and of the questions of
#: other contexts.
FRAMES, PROSE, QUESTIONS = 0.36, 0.32, 0.3
#: Parts of a frame: the letter that stands for it in the texts, and its rule.
_PARTS = {"N": "echo_noun", "K": "echo_key", "R": "echo_link", "C": "echo_copula", "P": "echo_phrase", "Q": "echo_phrase",
          "A": "echo_aux", "I": "echo_ask", "X": "echo_target", "O": "echo_origin"}
_PART = re.compile(r"(?<![A-Za-z'{])([NKRCPQAIXO])(?![A-Za-z'])")
_SHUFFLE = re.compile(r"\(\((.*?)\)\)")
_WORD = re.compile(r"[a-z]+")
#: Share of a frame's words that a question keeps.
_KEPT = (1.0, 1.0, 0.7, 0.4, 0.0)
#: How many frames one context mixes.
_MIX = ((1, 2, 4, 16), (60, 16, 14, 10))
_PAIRS = (("{d}", "{b}"), ("{e}", "{c}"))


class Frame:
    """A draw of every part. `pool` holds the words that all frames of a context share, if they do."""

    def __init__(self, rng: Random, lexicon: Lexicon, pool: list[str], kept: dict[str, str] | None = None,
                 share: float = 0.0) -> None:
        self._rng, self._lexicon, self._pool = rng, lexicon, pool
        self.parts = {name: text for name, text in (kept or {}).items() if rng.random() < share}

    def _word(self, rng: Random) -> str:
        if self._pool and rng.random() < 0.8:
            return self._pool[int(rng.random() * len(self._pool))]
        return unmarked_word(rng, self._lexicon)

    def _part(self, name: str) -> str:
        if name not in self.parts:
            rng = self._rng
            if name in _PARTS:
                text = GRAMMAR.expand(_PARTS[name], rng, self._word)
            elif name == "s":
                text = GRAMMAR.expand("echo_subject", rng, self._word)
            else:
                text = self._word(rng)
            self.parts[name] = text
        return self.parts[name]

    def _verb(self, base: str) -> str:
        """What the statement has for the verb that the question names by its base form: mostly a verb of the books, or
        any word."""
        rng, name = self._rng, base + "+"
        if name not in self.parts:
            stem, past = rng.choice(self._lexicon.verbs)
            if rng.random() < 0.3:
                stem = self._word(rng)
                past = stem if stem.endswith("ed") else stem + ("d" if stem.endswith("e") else "ed")
            tail = rng.choice(("", "", "", "", " down", " up", " back", " over", f" {self._word(rng)}"))
            self.parts[base] = stem + tail
            self.parts[name] = rng.choice((past, past, past, f"{stem}s", stem, f"had {past}", f"will {stem}")) + tail
        return self.parts[name]

    def _once(self, rule: str) -> str:
        rng = self._rng
        text = GRAMMAR.expand(rule, rng, self._word)

        def shuffled(found: re.Match[str]) -> str:
            parts = found[1].split(";;")
            rng.shuffle(parts)
            return " ".join(parts)

        text = _SHUFFLE.sub(shuffled, text)
        for said, base in _PAIRS:
            if said in text or base in text:
                verb = self._verb(base[1])
                text = text.replace(said, verb).replace(base, self._part(base[1]))
        text = _PART.sub(lambda found: self._part(found[1]), text)
        for name in "swtu":
            if (place := f"{{{name}}}") in text:
                text = text.replace(place, self._part(name))
        return text

    def text(self, rule: str) -> str:
        """A text of the rule; none holds a word that tells a held-out wording."""
        while True:
            text = self._once(rule)
            if MARKERS.isdisjoint(_WORD.findall(text.lower())):
                return sentence(start(text, self._rng, self._word))
            self.parts.clear()


def word_pool(rng: Random, lexicon: Lexicon) -> list[str]:
    """A few words that everything in a context is made of, or none."""
    return [unmarked_word(rng, lexicon) for _ in range(rng.randint(3, 24))] if rng.random() < 0.5 else []


class FactWordings:
    """Like `Wordings` for facts, in training partly of frames."""

    def __init__(self, rng: Random, lexicon: Lexicon) -> None:
        self._rng, self._lexicon = rng, lexicon
        self._training = lexicon.split == "train"
        self._frames: list[Frame] = []
        self._prose: list[ProseFrame] = []
        self._statements: list[str] = []
        self._pool = word_pool(rng, lexicon) if self._training else []
        kind = rng.random() if self._training else 1.0
        if kind < FRAMES:
            self._frames = [Frame(rng, lexicon, self._pool) for _ in range(rng.choices(*_MIX)[0])]
            self._statements = [frame.text("echo_statement") for frame in self._frames]
        elif kind < FRAMES + PROSE and lexicon.sentences:
            self._prose = [ProseFrame(rng, lexicon.sentences) for _ in range(rng.choices(*_MIX)[0])]
            self._statements = [frame.statement() for frame in self._prose]
        else:
            self._plain = Wordings("facts", "fact", "fact_question", rng, lexicon)

    @property
    def framed(self) -> bool:
        """Whether the statements are frames."""
        return bool(self._statements)

    def statement(self) -> str:
        return self._rng.choice(self._statements) if self._statements else self._plain.statement()[0]

    def _framed(self) -> str | None:
        """A question about a frame, its own words kept in part, or none where the grammar's shall be asked."""
        rng = self._rng
        if not self._training or rng.random() > (0.8 if self._frames else 0.65 if self._prose else QUESTIONS):
            return None
        if self._prose and rng.random() < 0.6:
            return rng.choice(self._prose).question()
        kept = rng.choice(self._frames).parts if self._frames else {}
        return Frame(rng, self._lexicon, self._pool, kept, rng.choice(_KEPT)).text("echo_question")

    def question(self) -> str:
        asked = self._framed()
        if asked is not None:
            return asked
        return compose("fact_question", self._rng, self._lexicon) if self._statements else self._plain.question()

    def listing(self) -> str:
        """A question for every value under one key."""
        asked = self._framed()
        return question("multiValue", "multi_value_question", self._rng, self._lexicon) if asked is None else (
            self._plural(asked, "echo_list_end", 0.3))

    def several(self) -> str:
        """A question for the values under several keys."""
        asked = self._framed()
        return question("multiQuery", "multi_query_question", self._rng, self._lexicon) if asked is None else (
            self._plural(asked, "echo_each_end", 0.3))

    def _plural(self, asked: str, end: str, share: float) -> str:
        rng = self._rng
        if rng.random() < 0.7:
            many = rng.choice(("{n}s", "{n}s", "{n}s", "all {n}s", "every {n}", "each {n}", "several {n}s", "various {n}s"))
            for article in ("the {n}", "a {n}", "its {n}"):
                if article in asked and rng.random() < 0.8:
                    asked = asked.replace(article, rng.choice(("the {n}s", "the {n}s", "all the {n}s", many)))
                    break
            else:
                asked = asked.replace("{n}", many)
        if rng.random() < share or "{n}s" not in asked:
            asked += " " + Frame(rng, self._lexicon, self._pool).text(end)
        return asked


class ChainWordings:
    """Like `Wordings` for assignments, in training partly of frames."""

    def __init__(self, rng: Random, lexicon: Lexicon) -> None:
        self._rng, self._lexicon = rng, lexicon
        self._training = lexicon.split == "train"
        self._pool = word_pool(rng, lexicon) if self._training else []
        self._frame: Frame | None = None
        if self._training and rng.random() < FRAMES:
            self._frame = Frame(rng, lexicon, self._pool)
            self._pair = list(both(self._frame.text("echo_assignment")))
        else:
            self._plain = Wordings("variables", "assignment", "chain_question", rng, lexicon)

    def statement(self) -> list[str]:
        """The text that sets a value and the one that copies."""
        return self._pair if self._frame else self._plain.statement()

    def question(self) -> str:
        rng = self._rng
        if self._training and rng.random() < (0.7 if self._frame else QUESTIONS):
            kept = self._frame.parts if self._frame else {}
            return Frame(rng, self._lexicon, self._pool, kept, rng.choice(_KEPT)).text("echo_chain_question")
        return compose("chain_question", rng, self._lexicon) if self._frame else self._plain.question()


def passkey_frame(rng: Random, lexicon: Lexicon) -> tuple[str, str]:
    """A statement of one value without a key, and a question that may repeat its words."""
    pool = word_pool(rng, lexicon)
    frame = Frame(rng, lexicon, pool)
    said = frame.text("echo_passkey")
    return said, Frame(rng, lexicon, pool, frame.parts, rng.choice(_KEPT)).text("echo_passkey_question")
