"""Stores and word lists that fill a context of their own."""

from __future__ import annotations

from random import Random

from scripts.train.lm.grammar import fill
from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.sample import Sample, Turn
from scripts.train.lm.templates import question


def key_value(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """A JSON object of random identifiers."""
    kind, value = rng.choice((("uuid", "uuid"), ("uuid", "uuid"), ("short_hex", "number"), ("pair", "short_hex")))
    if lexicon.split == "held_out":
        kind, value = "uuid", "uuid"
    keys = lexicon.distinct(kind, max(2, facts), rng)
    rows = [(key, getattr(lexicon, value)(rng)) for key in keys]
    turns = []
    for k, v in rng.sample(rows, min(queries, len(rows))):
        bare = rng.random() < 0.5
        asked = question("keyValue", "key_value_question", rng, lexicon) + (" Give the value only." if bare else "")
        turns.append(Turn(fill(asked, k=k), v if bare else f'"{k}": "{v}"', (v,)))
    statements = [f'"{k}": "{v}"' + ("," if i + 1 < len(rows) else "}") for i, (k, v) in enumerate(rows)]
    statements[0] = "{" + statements[0]
    return Sample(statements, turns, intro="JSON data:", filler=False)


def _counts(rng: Random, bag: list[str], most: int) -> list[Turn]:
    """Questions on how often words occur: they teach to count."""
    small = [word for word in dict.fromkeys(bag) if bag.count(word) <= 30]
    return [Turn(f"How often does {word} occur?", f"The word {word} occurs {bag.count(word)} times.",
                 (str(bag.count(word)),)) for word in rng.sample(small, min(most, len(small)))]


def common_words(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """A list in which a few words come back often: which ones? The answer names them in the order of their first occurrence."""
    wanted = rng.randint(2, 5) if facts >= 60 else rng.randint(1, 3)
    often, seldom = (10, 2)
    if lexicon.split == "train":
        often, seldom = rng.choice(((6, 1), (10, 1), (10, 2), (10, 2), (20, 3), (8, 2)))
    size = max(20, facts)
    seldom_count = min(600, max(1, (size - wanted * often) // seldom))
    often = max(often, (size - seldom_count * seldom) // wanted)
    words = lexicon.distinct("word", wanted + seldom_count, rng)
    bag = words[:wanted] * often + words[wanted:] * seldom
    rng.shuffle(bag)
    common = sorted(words[:wanted], key=bag.index)
    asked = fill(question("commonWords", "common_question", rng, lexicon), c=str(wanted))
    answer = "The most common words are: " + ", ".join(common) + "."
    turns = [Turn(asked, answer, tuple(common))]
    form = 0
    if lexicon.split == "train":
        form = rng.choice((0, 0, 0, 1, 2))
        if size <= 400 and rng.random() < 0.4:
            turns += _counts(rng, bag, 4)
            rng.shuffle(turns)
    lines = ([f"{i + 1}. {word}" for i, word in enumerate(bag)] if form == 0 else [f"- {word}" for word in bag]
             if form == 1 else [", ".join(bag)])
    return Sample(lines, turns, filler=False)


def frequent_words(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Coded text whose word frequencies fall like a power of the rank: the three most frequent words, most frequent
    first."""
    power = -2.0 if lexicon.split == "held_out" else rng.choice((-2.0, -2.0, -2.0, -1.5, -3.0))
    words = lexicon.distinct("word", 30, rng)
    weights = [(rank + 1) ** power for rank in range(len(words))]
    bag = rng.choices(words, weights, k=max(40, facts))
    counts = sorted(set(bag), key=lambda word: (-bag.count(word), bag.index(word)))[:3]
    lines = ["> " + " ".join(bag[i:i + 12]) for i in range(0, len(bag), 12)]
    turns = [Turn(question("frequentWords", "frequent_question", rng, lexicon),
                  "The most frequent words are: " + ", ".join(counts) + ".", tuple(counts))]
    if lexicon.split == "train" and len(bag) <= 600 and rng.random() < 0.3:
        turns += _counts(rng, bag, 3)
        rng.shuffle(turns)
    return Sample(lines, turns, intro="Read the following coded text.", filler=False)
