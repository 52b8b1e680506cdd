"""Facts under keys: one or many, one key or several in a question, one value or several under a key."""

from __future__ import annotations

from random import Random

from scripts.train.lm.echo import FactWordings, passkey_frame
from scripts.train.lm.grammar import fill, sentence
from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.sample import Sample, Turn
from scripts.train.lm.templates import (HELD_OUT, NOUNS, PASSKEY_NOUNS, STYLES, TRAINING_NOUNS, compose)

#: Answers have one form, whatever the wording: what varies is to be read, not to be written.
ANSWER = "The {n} of {k} is {v}."
SEVERAL = "The {n}s of {k} are: {v}."
#: Share of pass keys that training states and asks for in random words.
FRAMED_PASSKEYS = 0.6
_KINDS = ("number", "number", "word", "pair", "short_hex", "uuid", "code")


def key_kind(rng: Random) -> str:
    return rng.choices(("word", "pair", "number", "uuid", "person", "code"), (35, 30, 10, 10, 10, 5))[0]


def _nouns(rng: Random, lexicon: Lexicon, count: int, framed: bool) -> list[tuple[str, str]]:
    """Different nouns with their kinds of value; in training some are words of the books, with any kind, few where the
    words around are random too."""
    if lexicon.split == "held_out":
        return rng.sample(NOUNS, count)
    drawn = dict(rng.sample(TRAINING_NOUNS, count))
    if rng.random() < (0.08 if framed else 0.35):
        drawn = {word: rng.choice(_KINDS) for word in lexicon.distinct("word", count, rng)}
    return list(drawn.items())


#: A short answer: one form for every kind of value, which follows a space as it does in the text.
SHORT = "It is {v}."


def _crossed(rng: Random, lexicon: Lexicon, facts: int, framed: bool) -> list[tuple[str, tuple[str, str]]]:
    """Several nouns under every key and several keys with every noun, often with one kind of value, so that key and noun
    must be matched at once: what is learnt slowest. Only in training."""
    nouns = _nouns(rng, lexicon, rng.randint(2, 5), framed)
    if rng.random() < 0.6:
        nouns = [(noun, nouns[0][1]) for noun, _ in nouns]
    keys = lexicon.distinct(key_kind(rng), max(2, round(facts / rng.uniform(1.3, len(nouns)))), rng)
    pairs = [(key, noun) for key in keys for noun in rng.sample(nouns, rng.randint(1, len(nouns)))]
    return rng.sample(pairs, min(facts, len(pairs)))


def multi_key(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Facts about different keys; some keys have a second fact under another noun as a hard distractor."""
    wordings = FactWordings(rng, lexicon)
    if lexicon.split == "train" and facts > 3 and rng.random() < 0.4:
        pairs = _crossed(rng, lexicon, facts, wordings.framed)
    else:
        main, other = _nouns(rng, lexicon, 2, wordings.framed)
        keys = lexicon.distinct(key_kind(rng), max(1, facts), rng)
        nouns = [main] * len(keys)
        if facts > 3 and rng.random() < 0.3:
            for index in range(len(keys) // 2):
                keys[index], nouns[index] = keys[-1 - index], other
        pairs = list(zip(keys, nouns))
        if other in nouns:
            pairs = rng.sample(pairs, len(pairs))
    rows = [(key, noun, kind, getattr(lexicon, kind)(rng)) for key, (noun, kind) in pairs]
    turns = []
    for index in rng.sample(range(len(rows)), min(queries, len(rows))):
        k, n, kind, v = rows[index]
        style, short = rng.choice(STYLES)
        answer = fill(SHORT, v=v) if short else fill(ANSWER, n=n, k=k, v=v)
        turns.append(Turn(sentence(fill(wordings.question() + style, n=n, k=k)), answer, (v,)))
    return Sample([fill(wordings.statement(), n=n, k=k, v=v) for k, n, _, v in rows], turns)


def single_needle(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """One fact; the rest of the context is filler."""
    return multi_key(rng, lexicon, 1, 1)


def scattered(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """A few facts that have nothing in common, wording, noun and kind of key drawn anew for each: as hard to find as one
    alone, and a long context has more than one answer. Only in training."""
    single = [multi_key(rng, lexicon, 1, 1) for _ in range(rng.randint(2, min(12, max(2, facts))))]
    turns = [turn for sample in single for turn in sample.turns]
    rng.shuffle(turns)
    return Sample([statement for sample in single for statement in sample.statements], turns[:queries])


def recall(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Bare associative recall: a list of pairs, then keys to complete. The cheapest form to learn retrieval from."""
    separator = rng.choice((": ", " = ", " -> ", " is ", " | "))
    kind = rng.choice(("word", "pair", "short_hex", "number", "word"))
    value = rng.choice(("word", "word", "number", "pair", "short_hex"))
    keys = lexicon.distinct(kind, max(2, facts), rng)
    rows = [(k, getattr(lexicon, value)(rng)) for k in keys]
    turns = []
    for k, v in rng.sample(rows, min(queries, len(rows))):
        full = rng.random() < 0.4
        turns.append(Turn(f"Complete: {k}?" if full else f"What goes with {k}?",
                          f"- {k}{separator}{v}" if full else fill(SHORT, v=v), (v,)))
    return Sample([f"- {k}{separator}{v}" for k, v in rows], turns, filler=rng.random() < 0.5)


def multi_value(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Several values under one key; the answer lists them in the order of the text. Most values are words: where
    every token is a digit, many values begin alike."""
    wordings = FactWordings(rng, lexicon)
    wordy = lexicon.split == "held_out" or rng.random() < 0.85
    while True:
        name, kind = _nouns(rng, lexicon, 1, wordings.framed)[0]
        if (kind in ("word", "pair")) == wordy:
            break
    draw = key_kind(rng)
    groups = max(1, min(queries, facts // 4))
    keys = lexicon.distinct(draw, groups + facts, rng)
    rows: list[tuple[str, str]] = []
    for key in keys[:groups]:
        rows += [(key, value) for value in lexicon.distinct(kind, rng.randint(2, 5), rng)]
    rows += [(key, getattr(lexicon, kind)(rng)) for key in keys[groups:facts - len(rows) + groups]]
    rng.shuffle(rows)
    values: dict[str, list[str]] = {}
    for key, value in rows:
        values.setdefault(key, []).append(value)
    turns = []
    for key, found in values.items():
        # How many values there are stands in the context: a question need not say it.
        if lexicon.split == "train" and rng.random() < (0.15 if len(found) > 1 else 0.05):
            answer = fill(SEVERAL if len(found) > 1 else ANSWER, n=name, k=key, v=", ".join(found))
            turns.append(Turn(sentence(fill(wordings.question(), n=name, k=key)), answer, tuple(found)))
        elif len(found) > 1 or rng.random() < 0.1:
            asked = wordings.listing()
            turns.append(Turn(sentence(fill(asked, n=name, k=key)), fill(SEVERAL, n=name, k=key, v=", ".join(found)),
                              tuple(found)))
    rng.shuffle(turns)
    return Sample([fill(wordings.statement(), n=name, k=k, v=v) for k, v in rows], turns[:queries])


def multi_query(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Several keys in one question; the answer gives each fact in the order asked."""
    wordings = FactWordings(rng, lexicon)
    name, kind = _nouns(rng, lexicon, 1, wordings.framed)[0]
    keys = lexicon.distinct(key_kind(rng), max(4, facts), rng)
    rows = [(key, getattr(lexicon, kind)(rng)) for key in keys]
    turns = []
    for _ in range(min(queries, max(1, len(rows) // 2))):
        asked = rng.sample(rows, rng.randint(2, 4))
        listing = ", ".join(key for key, _ in asked[:-1]) + " and " + asked[-1][0]
        answers = "\n".join(fill(ANSWER, n=name, k=key, v=value) for key, value in asked)
        wording = wordings.several()
        turns.append(Turn(sentence(fill(wording, n=name, k=listing)), answers, tuple(value for _, value in asked)))
    return Sample([fill(wordings.statement(), n=name, k=k, v=v) for k, v in rows], turns)


def passkey(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """The one number to remember."""
    value = lexicon.number(rng)
    if lexicon.wording == "held_out":
        statement, asked = rng.choice(HELD_OUT["passkeys"])
    elif lexicon.split == "train" and rng.random() < FRAMED_PASSKEYS:
        if rng.random() < 0.3:
            value = getattr(lexicon, rng.choice(("pair", "code", "short_hex", "uuid")))(rng)
        statement, asked = passkey_frame(rng, lexicon)
    else:
        noun = rng.choice(PASSKEY_NOUNS)
        statement = fill(compose("passkey", rng, lexicon), n=noun)
        asked = sentence(fill(compose("passkey_question", rng, lexicon), n=noun))
    if lexicon.split == "train" and value.isdigit() and rng.random() < 0.2:
        asked += " Only the number."
    return Sample([fill(statement, v=value)], [Turn(asked, fill(SHORT, v=value), (value,))])
