"""Generators of long-context tasks in the spirit of RULER (Hsieh et al. 2024): each returns the statements to hide
and questions with their answers. `facts` is how many statements to aim for, `queries` how many questions at most."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.train.lm.lexicon import CITIES, COLOURS, JOBS, PETS, Lexicon
from scripts.train.lm.sample import Sample, Turn
from scripts.train.lm.templates import (FACTS, MULTI_QUERY, MULTI_VALUE, NOUNS, PASSKEYS, RELATIONS, STYLES, VARIABLES,
                                        choose)

Generator = Callable[[Random, Lexicon, int, int], Sample]


def _key_kind(rng: Random) -> str:
    return rng.choices(("word", "pair", "number", "uuid", "person", "code"), (35, 30, 10, 10, 10, 5))[0]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] if text[:1].isalpha() and "->" not in text else text


def short_answer(kind: str, value: str) -> str:
    """A short answer's form: digits stand alone, words follow a space as they do in the text."""
    return value if kind in ("number", "uuid", "short_hex") else f"It is {value}."


def multi_key(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Facts of one form about different keys; some keys have a second fact under another noun as a hard distractor."""
    template = choose(FACTS, lexicon.wording, rng)
    main, other = rng.sample(NOUNS, 2)
    keys = lexicon.distinct(_key_kind(rng), max(1, facts), rng)
    nouns = [main] * len(keys)
    if facts > 3 and rng.random() < 0.3:
        for index in range(len(keys) // 2):
            keys[index], nouns[index] = keys[-1 - index], other
        order = rng.sample(range(len(keys)), len(keys))
        keys, nouns = [keys[index] for index in order], [nouns[index] for index in order]
    rows = [(key, noun, kind, getattr(lexicon, kind)(rng)) for key, (noun, kind) in zip(keys, nouns)]
    turns = []
    for index in rng.sample(range(len(rows)), min(queries, len(rows))):
        k, n, kind, v = rows[index]
        style, short = rng.choice(STYLES)
        answer = short_answer(kind, v) if short else template.answer.format(n=n, k=k, v=v)
        turns.append(Turn(_sentence((template.question + style).format(n=n, k=k)), answer, (v,)))
    return Sample([template.statement.format(n=n, k=k, v=v) for k, n, _, v in rows], turns)


def single_needle(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """One fact; the rest of the context is filler."""
    return multi_key(rng, lexicon, 1, 1)


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
                          f"- {k}{separator}{v}" if full else short_answer(value, v), (v,)))
    return Sample([f"- {k}{separator}{v}" for k, v in rows], turns, filler=rng.random() < 0.5)


def multi_value(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Several values under one key; the answer lists them in the order of the text. Most values are words: where
    every token is a digit, many values begin alike."""
    template = choose(FACTS, lexicon.wording, rng)
    wordy = lexicon.wording == "held_out" or lexicon.split == "held_out" or rng.random() < 0.85
    name, kind = rng.choice([noun for noun in NOUNS if (noun[1] in ("word", "pair")) == wordy])
    draw = _key_kind(rng)
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
    question, answer = choose(MULTI_VALUE, lexicon.wording, rng)
    turns = [Turn(question.format(n=name, k=key), answer.format(n=name, k=key, v=", ".join(found)), tuple(found))
             for key, found in values.items() if len(found) > 1 or rng.random() < 0.1]
    rng.shuffle(turns)
    return Sample([template.statement.format(n=name, k=k, v=v) for k, v in rows], turns[:queries])


def multi_query(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Several keys in one question; the answer gives each fact in the order asked."""
    template = choose(FACTS, lexicon.wording, rng)
    name, kind = rng.choice(NOUNS)
    keys = lexicon.distinct(_key_kind(rng), max(4, facts), rng)
    rows = [(key, getattr(lexicon, kind)(rng)) for key in keys]
    question = choose(MULTI_QUERY, lexicon.wording, rng)
    turns = []
    for _ in range(min(queries, max(1, len(rows) // 2))):
        asked = rng.sample(rows, rng.randint(2, 4))
        listing = ", ".join(key for key, _ in asked[:-1]) + " and " + asked[-1][0]
        answers = "\n".join(template.answer.format(n=name, k=key, v=value) for key, value in asked)
        turns.append(Turn(question.format(n=name, k=listing), answers, tuple(value for _, value in asked)))
    return Sample([template.statement.format(n=name, k=k, v=v) for k, v in rows], turns)


def variable_tracking(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Chains of assignments; the answer lists a chain's variables in order."""
    first, copy, question, answer = choose(VARIABLES, lexicon.wording, rng)
    chains = max(1, min(40, facts // 4))
    hops = [rng.randint(1, 4) for _ in range(chains)]
    names = iter(lexicon.distinct(rng.choice(("word", "word", "variable")), sum(hops) + chains, rng))
    numbers = lexicon.distinct("number", chains, rng)
    streams: list[list[str]] = []
    turns = []
    for value, hop in zip(numbers, hops):
        variables = [next(names) for _ in range(hop + 1)]
        streams.append([first.format(x=variables[0], v=value)] +
                       [copy.format(x=x, y=y) for y, x in zip(variables, variables[1:])])
        turns.append(Turn(question.format(v=value), answer.format(v=value, l=", ".join(variables)), tuple(variables)))
    order = [index for index, stream in enumerate(streams) for _ in stream]
    rng.shuffle(order)
    heads = [iter(stream) for stream in streams]
    rng.shuffle(turns)
    return Sample([next(heads[index]) for index in order], turns[:queries])


def key_value(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """A JSON object of random identifiers."""
    kind, value = rng.choice((("uuid", "uuid"), ("uuid", "uuid"), ("short_hex", "number"), ("pair", "short_hex")))
    keys = lexicon.distinct(kind, max(2, facts), rng)
    rows = [(key, getattr(lexicon, value)(rng)) for key in keys]
    picks = rng.sample(range(len(rows)), min(queries, len(rows)))
    wording = rng.choice(('What is the value of "{k}"?', 'Extract the value stored under "{k}".', 'Key: "{k}"'))
    bare = rng.random() < 0.5
    turns = [Turn(wording.format(k=k) + (" Give the value only." if bare else ""), v if bare else f'"{k}": "{v}"', (v,))
             for k, v in (rows[index] for index in picks)]
    statements = [f'"{k}": "{v}"' + ("," if i + 1 < len(rows) else "}") for i, (k, v) in enumerate(rows)]
    statements[0] = "{" + statements[0]
    return Sample(statements, turns, intro="JSON data:", filler=False)


def passkey(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """The one pass key of the text."""
    statement, question, answer = choose(PASSKEYS, lexicon.wording, rng)
    value = lexicon.number(rng)
    bare = rng.random() < 0.3
    turn = (Turn(question + " Only the number.", value, (value,)) if bare
            else Turn(question, answer.format(v=value), (value,)))
    return Sample([statement.format(v=value)], [turn])


def qa(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Short questions about stated facts on people."""
    pools = {"city": CITIES, "job": JOBS, "colour": COLOURS, "pet": PETS}
    people = lexicon.distinct("person", max(1, facts // 2), rng)
    rows: list[tuple[str, Turn]] = []
    for person in people:
        for relation, wordings in rng.sample(RELATIONS, min(len(RELATIONS), max(1, facts // len(people)))):
            item = rng.choice(pools[relation])
            statement, question, answer = rng.choice(wordings[:-1] if lexicon.wording == "train" else wordings[-1:])
            rows.append((statement.format(p=person, o=item),
                         Turn(question.format(p=person), answer.format(p=person, o=item), (item,))))
    rng.shuffle(rows)
    picks = rng.sample(range(len(rows)), min(queries, len(rows)))
    return Sample([statement for statement, _ in rows], [rows[index][1] for index in picks])


def common_words(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """A numbered list in which a few words come back often: which ones?"""
    wanted = rng.randint(2, 5)
    size = max(20, facts)
    often, seldom = rng.choice(((6, 1), (10, 2), (20, 3)))
    seldom_count = max(1, (size - wanted * often) // seldom)
    words = lexicon.distinct("word", wanted + seldom_count, rng)
    bag = words[:wanted] * often + words[wanted:] * seldom
    rng.shuffle(bag)
    order = sorted(words[:wanted], key=bag.index)
    question = f"What are the {wanted} most common words in the above list?"
    return Sample([f"{i + 1}. {word}" for i, word in enumerate(bag)], [Turn(question, "The most common words are: " + ", ".join(order) + ".", tuple(order))], filler=False)


def frequent_words(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Coded text whose word frequencies fall like 1/rank^2: the three most frequent words, most frequent first."""
    words = lexicon.distinct("word", 30, rng)
    weights = [(rank + 1) ** -2.0 for rank in range(len(words))]
    bag = rng.choices(words, weights, k=max(40, facts))
    counts = sorted(set(bag), key=lambda word: (-bag.count(word), bag.index(word)))[:3]
    lines = ["> " + " ".join(bag[i:i + 12]) for i in range(0, len(bag), 12)]
    question = "What are the three most frequently appeared words in the above coded text?"
    return Sample(lines, [Turn(question, "The most frequent words are: " + ", ".join(counts) + ".", tuple(counts))], intro="Read the following coded text.", filler=False)


#: Family name to generator and its share of generated sequences.
FAMILIES: dict[str, tuple[Generator, float]] = {
    "single_needle": (single_needle, 3),
    "multi_key": (multi_key, 20),
    "recall": (recall, 6),
    "multi_value": (multi_value, 20),
    "multi_query": (multi_query, 10),
    "variable_tracking": (variable_tracking, 24),
    "key_value": (key_value, 6),
    "passkey": (passkey, 2),
    "qa": (qa, 5),
    "common_words": (common_words, 2),
    "frequent_words": (frequent_words, 2),
}
#: Families whose statements are shorter than a fact: this many times as many fill the same room.
DENSITY = {"common_words": 6, "frequent_words": 8, "variable_tracking": 2, "recall": 2}


def sample_texts(count: int) -> list[str]:
    """Generated text that shows the tokenizer the tasks' fixed wording (values left short)."""
    from scripts.train.lm.instructions import instruction

    rng, lexicon = Random(7), Lexicon("the of and to in that with for his had".split() + FACTS[0].statement.split(), "train", "train")
    texts = [" ".join((f.statement, f.question, f.answer)) for f in FACTS[:-2] for _ in range(count // 20)]
    texts += [" ".join(v) for v in VARIABLES[:-2] for _ in range(count // 20)]
    texts += [" ".join(v) for group in (MULTI_VALUE, PASSKEYS) for v in group[:-2] for _ in range(count // 20)]
    texts += [f"{name} {style}" for name, _ in NOUNS for style, _ in STYLES for _ in range(count // 20)]
    texts += [" ".join(w) for _, wordings in RELATIONS for w in wordings[:-1] for _ in range(count // 20)]
    texts += [f"{role}\n" for role in ("user", "assistant", "system") for _ in range(count)]
    for _ in range(count):
        sample = instruction(rng, lexicon)
        texts += [question for question, _ in sample.turns]
    return [text.replace("{", " ").replace("}", " ") for text in texts]
