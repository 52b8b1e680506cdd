"""Frames of real prose: a sentence of the training books in which three words give way to the places of a fact, and
questions that say part of the sentence again. What stands before a value then varies as it does in English."""

from __future__ import annotations

import re
from random import Random

from scripts.train.lm.grammar import sentence
from scripts.train.lm.templates import MARKERS

_SENTENCE = re.compile(r"(?<=[.!?] )[A-Z][A-Za-z,;: '-]{30,150}[a-z][.!?;](?= )")
_WORD = re.compile(r"[a-z]+")
#: Fewest and most words of a sentence.
_WORDS = (7, 24)
_DETERMINERS = frozenset("the a an his her its their my your our this that no every some any each".split())
#: Share of a sentence's other words that a question keeps.
_KEPT = (1.0, 1.0, 0.7, 0.4)
_OPENINGS = ("What", "What", "Which {n}", "Which {n}", "Tell me what", "Say what", "And what", "So which {n}")


def prose_sentences(text: str) -> list[str]:
    """Plain sentences of a text: no digits or quotes, and no word that tells a held-out wording."""
    found = []
    for each in _SENTENCE.findall(text):
        words = each.split(" ")
        if _WORDS[0] <= len(words) <= _WORDS[1] and MARKERS.isdisjoint(_WORD.findall(each.lower())):
            found.append(each)
    return found


def _bare(word: str) -> str:
    """A word without the marks around it."""
    return word.strip(".,;:!?")


class ProseFrame:
    """One sentence with places for key, noun and value."""

    def __init__(self, rng: Random, sentences: tuple[str, ...]) -> None:
        self._rng = rng
        while True:
            words = sentences[int(rng.random() * len(sentences))].split(" ")
            # The first word stays: a key or value follows a space. Short words carry the syntax.
            able = [index for index, word in enumerate(words) if index and len(_bare(word)) >= 3
                    and _bare(word) not in _DETERMINERS and _bare(word).isalpha()]
            if len(able) >= 3:
                break
        places = rng.sample(able, 3)
        kind = rng.random()
        if kind < 0.45:
            # The noun beside its value: "the token 482".
            self._put(words, places[0], "{k}")
            self._put(words, places[1], rng.choice(("{n} {v}", "{n} {v}", "{v}, {n},")), True)
        elif kind < 0.58:
            # Beside its key: "the token of Ada".
            self._put(words, places[0], f"{{n}} {rng.choice(('of', 'of', 'for', 'with', 'from'))} {{k}}", True)
            self._put(words, places[1], "{v}")
        else:
            for index, place in zip(places, ("{k}", "{v}", "{n}")):
                self._put(words, index, place, place == "{n}")
        self._words = re.sub(r",([.,;:!?])", r"\1", " ".join(words)).split(" ")
        if rng.random() < 0.15:
            index = next(i for i, word in enumerate(self._words) if "{v}" in word)
            self._words[index] = self._words[index].replace("{v}", "\" {v} \"" if rng.random() < 0.5 else "( {v} )")

    def _put(self, words: list[str], index: int, place: str, noun: bool = False) -> None:
        bare = _bare(words[index])
        if noun:
            before = words[index - 1].lower()
            if before not in _DETERMINERS:
                place = ("the " if self._rng.random() < 0.8 else "a ") + place
        words[index] = words[index].replace(bare, place)

    def statement(self) -> str:
        """The sentence, with `{k}`, `{n}` and `{v}` in it."""
        text = " ".join(self._words)
        return text[:-1] + "." if text[-1] in ";!?" else text

    def question(self) -> str:
        """The sentence without its value, or a stretch of it around the key, asked."""
        rng = self._rng
        words = [word for word in self._words if "{v}" not in word and word not in ('"', "(", ")")]
        words = [word.strip(".;:!?") for word in words]
        key = next(index for index, word in enumerate(words) if "{k}" in word)
        first = 0 if rng.random() < 0.3 else rng.randint(max(0, key - 7), key)
        last = len(words) if rng.random() < 0.3 else rng.randint(key + 1, min(len(words), key + 8))
        share = rng.choice(_KEPT)
        kept = [word for word in words[first:last] if "{" in word or rng.random() < share]
        text = " ".join(kept).strip(" ,")
        text = text[:1].lower() + text[1:]
        opening = rng.choice(_OPENINGS)
        if "{n}" in opening:
            text = text.replace("the {n}", "it").replace("a {n}", "it").replace("{n}", "it")
        elif "{n}" not in text:
            text += rng.choice((" as the {n}", " for the {n}", ", and I mean the {n}", ": the {n}"))
        return sentence(f"{opening} {text}?")
