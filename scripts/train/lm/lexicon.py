"""Words, names, numbers and identifiers that the generated tasks are made of. Everything comes in two disjoint
splits, one for training and one for evaluation."""

from __future__ import annotations

import re
import string
import zlib
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Literal

Split = Literal["train", "held_out"]

FIRST_NAMES = """Ada Agnes Albert Alice Amir Anna Anton Arthur Astrid Basil Bella Benno Bertha Boris Bruno Carla Carol
Cecil Celia Clara Claude Conrad Cora Cyril Daisy Dario David Dinah Dora Edgar Edith Elena Elias Ella Elsa Emil Emma
Enzo Erik Esther Ethel Eva Felix Fiona Flora Franz Frida George Gilda Grace Greta Hanna Harold Hazel Hector Helen
Henri Hilda Hugo Ida Igor Ines Iris Isaac Ivan Jacob Jane Jasper Joan Jonas Julia Karl Kate Kira Lara Laura Leo Leon
Lily Linda Lucas Lucy Luis Lydia Mabel Magda Marco Maria Mark Martha Max Maya Milan Mina Mona Nadia Nadine Nelly
Nora Olga Oliver Oscar Otto Owen Paul Pedro Petra Quentin Rachel Ralph Rita Robin Rosa Rufus Ruth Samuel Sara Silas
Simon Sofia Stella Sven Sylvia Tessa Theo Thomas Tilda Tobias Ursula Vera Victor Viola Walter Wanda Xaver Yara
Yusuf Zelda Zora""".split()
CITIES = """Aberdeen Athens Basel Bergen Berlin Bologna Boston Bremen Cairo Cardiff Chicago Cologne Cork Dakar Delhi
Denver Dresden Dublin Essen Florence Geneva Ghent Glasgow Graz Hamburg Hanoi Havana Helsinki Kyoto Lagos Leeds Lima
Lisbon London Lyon Madrid Malmo Manila Marseille Milan Montreal Moscow Munich Nairobi Naples Odessa Osaka Oslo Ottawa
Oxford Padua Paris Porto Prague Quito Reno Riga Rome Seville Sofia Sydney Tokyo Toledo Toronto Trieste Tunis Turin
Utrecht Vienna Warsaw York Zagreb Zurich""".split()
JOBS = """actor architect baker barber butcher carpenter chemist clerk cook dancer dentist doctor driver editor
engineer farmer fisherman gardener glazier guard guide hunter judge lawyer librarian mason mechanic miller miner
musician notary nurse painter pilot plumber poet porter potter printer sailor sculptor singer smith soldier surgeon
tailor teacher translator waiter weaver writer""".split()
COLOURS = "amber black blue bronze brown crimson gold green grey indigo orange pink purple red silver white yellow".split()
PETS = "canary cat cow dog donkey duck ferret goat goose hamster hare hen horse lizard parrot pig pony rabbit sheep tortoise".split()


def is_held_out(word: str) -> bool:
    """One word in ten, by a hash of the word, belongs to evaluation."""
    return zlib.crc32(word.encode()) % 10 == 0


def corpus_words(texts: list[str], minimum: int = 12) -> list[str]:
    """Lower-case words of 3 to 10 letters that occur at least `minimum` times, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(re.findall(r"(?<![\w'-])[a-z]{3,10}(?![\w'-])", text))
    return sorted(word for word, count in counts.items() if count >= minimum)


@dataclass(frozen=True)
class Lexicon:
    """Draws the parts of facts: words and numbers of one split. `wording` says which templates go with them."""

    words: list[str]
    split: Split
    wording: Split

    @staticmethod
    def of(words: list[str], split: Split, wording: Split) -> Lexicon:
        return Lexicon([word for word in words if is_held_out(word) == (split == "held_out")], split, wording)

    def word(self, rng: Random) -> str:
        return self.words[int(rng.random() * len(self.words))]

    def pair(self, rng: Random) -> str:
        """Two words and a hyphen, like `quiet-harbour`."""
        return f"{self.word(rng)}-{self.word(rng)}"

    def number(self, rng: Random, low: int = 4, high: int = 8) -> str:
        """Between `low` and `high` digits; every eleventh number belongs to evaluation."""
        while True:
            digits = rng.randint(low, high)
            value = rng.randrange(10 ** (digits - 1), 10**digits)
            if (value % 11 == 0) == (self.split == "held_out"):
                return str(value)

    def uuid(self, rng: Random) -> str:
        digits = f"{rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def short_hex(self, rng: Random) -> str:
        return f"{rng.getrandbits(32):08x}"

    def code(self, rng: Random) -> str:
        """Letters and digits, like `QX-482-ZB`."""
        letters = "".join(rng.choices(string.ascii_uppercase, k=4))
        return f"{letters[:2]}-{rng.randint(100, 999)}-{letters[2:]}"

    def variable(self, rng: Random) -> str:
        return "".join(rng.choices(string.ascii_uppercase, k=5))

    def person(self, rng: Random) -> str:
        """First name and a capitalised corpus word as family name."""
        return f"{rng.choice(FIRST_NAMES)} {self.word(rng).capitalize()}"

    def distinct(self, draw: str, count: int, rng: Random) -> list[str]:
        """`count` different values of the named kind."""
        method = getattr(self, draw)
        found: dict[str, None] = {}
        while len(found) < count:
            found[method(rng)] = None
        return list(found)
