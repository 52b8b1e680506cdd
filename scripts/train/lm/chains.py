"""Chains of assignments, and what is said about people."""

from __future__ import annotations

from random import Random

from scripts.train.lm.echo import ChainWordings
from scripts.train.lm.grammar import fill, sentence
from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.sample import Sample, Turn
from scripts.train.lm.templates import RELATIONS, framed, unmarked_word

CHAIN = "The names with the value {v} are: {l}."
ABOUT = "The answer for {p} is {o}."
#: The evaluation asks about these; training also knows others.
_ASKED = tuple(name for name, relation in RELATIONS.items() if relation.held_out)


def variable_tracking(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Chains of assignments; the answer lists a chain's variables in order."""
    wordings = ChainWordings(rng, lexicon)
    chains = max(1, min(40, facts // 4))
    hops = [rng.randint(1, 4) for _ in range(chains)]
    names = iter(lexicon.distinct(rng.choice(("word", "word", "variable")), sum(hops) + chains, rng))
    numbers = lexicon.distinct("number", chains, rng)
    streams: list[list[str]] = []
    turns = []
    for value, hop in zip(numbers, hops):
        variables = [next(names) for _ in range(hop + 1)]
        streams.append([fill(wordings.statement()[0], x=variables[0], v=value)] +
                       [fill(wordings.statement()[1], x=x, y=y) for y, x in zip(variables, variables[1:])])
        turns.append(Turn(sentence(fill(wordings.question(), v=value)), fill(CHAIN, v=value, l=", ".join(variables)),
                          tuple(variables)))
    order = [index for index, stream in enumerate(streams) for _ in stream]
    rng.shuffle(order)
    heads = [iter(stream) for stream in streams]
    rng.shuffle(turns)
    return Sample([next(heads[index]) for index in order], turns[:queries])


#: Clauses and questions of relations that exist in no language; `{a}` and `{b}` are random words, `{c}` what objects are.
_MADE_UP = (
    ("{p} {a} the {o}", "What does {p} {a}?"), ("{p} {a} {b} {o}", "What does {p} {a} {b}?"),
    ("the {a} of {p} is {o}", "What is the {a} of {p}?"), ("{p} {a} {o} {b}", "What did {p} {a} {b}?"),
    ("a {o} {a} {p}", "What {a} {p}?"), ("{p} {a} the {b} {o}", "How did {p} {a} the {b}?"),
    ("the {a} of {p} {b} in {o}", "In which place does the {a} of {p} {b}?"),
    ("{p} is {a} for being a {o}", "What is {p} {a} for being?"), ("{p} is {a} of the {o}", "What is {p} {a} of?"),
    ("there {o} is where {p} {a} {b}", "Where does {p} {a} {b}?"),
    ("{p} {a} a {b} as a {o}", "How does {p} {a} a {b}?"), ("{p} has a {a} in {o}", "Where does {p} have a {a}?"),
    ("{p} {a} with the {o}", "With what does {p} {a}?"), ("{p} {a}s the {o}", "What does {p} {a}?"),
    ("{p} {a}s the {b} {o}", "Which {c} does {p} {a} the {b}?"),
    ("the {a} of {p} {b}s {o}", "Which {c} does the {a} of {p} {b}?"), ("{p} {a} {o}", "Which {c} does {p} {a}?"),
    ("the {a} that {p} {b} is {o}", "Which {c} is the {a} that {p} {b}?"),
    ("so {o} {a} {p} {b}", "Which {c} {a} {p} {b}?"),
    ("{p} and the {a}: {o}", "As for {p} and the {a}, which {c} is it?"),
    ("{p} was {a} by the {o}", "By which {c} was {p} {a}?"), ("{p} could {a} only {o}", "Which {c} could {p} {a}?"),
    ("the {a} {b} {p} for {o}", "For which {c} does the {a} {b} {p}?"),
    ("{p}, {a} and {b}, took {o}", "Which {c} did the {a} {p} take?"),
    ("with {o} {p} {a}s {b}", "With which {c} does {p} {a} {b}?"),
    ("{a} by {a}, {p} came to {o}", "To which {c} did {p} come, {a} by {a}?"),
)
#: What a question calls a relation's objects.
_KINDS = {"pet": "animal"}


def _made_up(rng: Random, lexicon: Lexicon, kind: str) -> tuple[str, str]:
    """A relation that exists in no language: what links statement and question are the words themselves. `kind` says
    what its objects are."""
    first, second = unmarked_word(rng, lexicon), unmarked_word(rng, lexicon)
    clause, asked = rng.choice(_MADE_UP)
    return fill(clause, a=first, b=second), fill(asked, a=first, b=second, c=_KINDS.get(kind, kind))


def qa(rng: Random, lexicon: Lexicon, facts: int, queries: int) -> Sample:
    """Short questions about stated facts on people. A question either repeats its statement's words, and a person may
    have several facts of a kind, or asks for the kind alone, and the person has one of each."""
    training = lexicon.split == "train"
    own_words = not training or rng.random() < 0.6
    kinds = list(RELATIONS) if training else list(_ASKED)
    people = lexicon.distinct("person", max(1, facts // 2), rng)
    most = max(1, facts // len(people))
    rows: list[tuple[str, Turn]] = []
    for person in people:
        for name in rng.sample(kinds, min(len(kinds), most)):
            relation = RELATIONS[name]
            if lexicon.wording == "held_out":
                clause, asked = rng.choice(relation.held_out)
            elif training and own_words and rng.random() < 0.45:
                clause, asked = _made_up(rng, lexicon, name)
            else:
                clause, asked = rng.choice(relation.forms)
                if not own_words:
                    asked = rng.choice(relation.questions)
                elif training and rng.random() < 0.08:
                    # A second fact of the same kind, told apart by its words alone.
                    other, _ = rng.choice(relation.forms)
                    if other != clause:
                        rows.append((fill(framed(other, rng, lexicon), p=person, o=rng.choice(relation.objects)), None))
            item = rng.choice(relation.objects)
            if training and rng.random() < 0.15:
                item = lexicon.word(rng)
            rows.append((fill(framed(clause, rng, lexicon), p=person, o=item),
                         Turn(sentence(fill(asked, p=person)), fill(ABOUT, p=person, o=item), (item,))))
    rng.shuffle(rows)
    turns = [turn for _, turn in rows if turn is not None]
    return Sample([sentence(statement) for statement, _ in rows], rng.sample(turns, min(queries, len(turns))))
