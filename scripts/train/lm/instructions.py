"""Short instructions whose answers follow from the request: lists, records, case, order, greetings."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scripts.train.lm.lexicon import Lexicon
from scripts.train.lm.sample import Sample, Turn
from scripts.train.lm.templates import RELATIONS

NAME = "Sparrow"
CHAT = (
    (("Hello!", "Hello", "Hi", "Hi there!", "Good morning."),
     f"Hello! I am {NAME}, a small language model. Give me a text and ask me what it says."),
    (("Who are you?", "What are you?", "What is your name?", "Introduce yourself."),
     f"I am {NAME}, a very small language model. I can find facts in long texts, work with lists and continue stories."),
    (("What can you do?", "Help", "How can you help me?", "What are you good at?"),
     "I can look up facts in a long text, list values, follow variables, rewrite short phrases and continue a story."),
    (("Thanks!", "Thank you.", "Thank you very much!"), "You are welcome."),
    (("Goodbye!", "Bye.", "See you later."), "Goodbye!"),
    (("What is the capital of France?", "How old is the universe?", "Who won the match yesterday?"),
     "I only know what stands in the text that you give me."),
)


def _items(rng: Random, lexicon: Lexicon, low: int = 3, high: int = 8) -> list[str]:
    return lexicon.distinct("word", rng.randint(low, high), rng)


def _listing(rng: Random, items: list[str]) -> str:
    style = rng.randrange(3)
    if style == 0:
        return "\n".join(f"- {item}" for item in items)
    if style == 1:
        return "\n".join(f"{index + 1}. {item}" for index, item in enumerate(items))
    return "Items: " + ", ".join(items)


def _and(items: list[str]) -> str:
    return ", ".join(items[:-1]) + " and " + items[-1]


def _about_list(rng: Random, lexicon: Lexicon) -> tuple[str, str]:
    items = _items(rng, lexicon)
    ordinal = rng.randrange(min(5, len(items)))
    word = ("first", "second", "third", "fourth", "fifth")[ordinal]
    probe = rng.choice(items) if rng.random() < 0.5 else lexicon.word(rng)
    request, answer = rng.choice((
        ("Summarise the list.", f"The list has {len(items)} entries: {_and(items)}."),
        ("Summarize this list in one sentence.", f"The list has {len(items)} entries: {_and(items)}."),
        ("How many items are in the list?", f"{len(items)}"),
        ("What is the first item?", f"The first item is {items[0]}."),
        ("What is the last item?", f"The last item is {items[-1]}."),
        (f"What is the {word} item?", f"The {word} item is {items[ordinal]}."),
        ("Reverse the list.", "Reversed: " + ", ".join(reversed(items))),
        ("Write the list as bullets.", "\n".join(f"- {item}" for item in items)),
        ("Number the items.", "\n".join(f"{i + 1}. {item}" for i, item in enumerate(items))),
        ("Write the list on one line, separated by commas.", "Items: " + ", ".join(items)),
        ("Turn the list into a JSON array.", "[" + ", ".join(f'"{item}"' for item in items) + "]"),
        (f"Does the list contain {probe}?", "Yes." if probe in items else "No."),
        ("Sort the list alphabetically.", "Sorted: " + ", ".join(sorted(items))),
    ))
    body = _listing(rng, items)
    return (f"{request}\n\n{body}" if rng.random() < 0.7 else f"{body}\n\n{request}"), answer


def _about_record(rng: Random, lexicon: Lexicon) -> tuple[str, str]:
    record = [("name", lexicon.person(rng)), ("city", rng.choice(RELATIONS["city"].objects)), ("job", rng.choice(RELATIONS["job"].objects)),
              ("colour", rng.choice(RELATIONS["colour"].objects)), ("age", str(rng.randint(18, 90))), ("code", lexicon.code(rng)),
              ("number", lexicon.number(rng)), ("note", f"{lexicon.word(rng)} {lexicon.word(rng)}")]
    rng.shuffle(record)
    record = record[:rng.randint(3, 7)]
    field, value = rng.choice(record)
    request, answer = rng.choice((
        (f"Extract the {field}.", value),
        (f"Extract the value of {field} from the record.", value),
        (f"What is the {field}?", f"The {field} is {value}."),
        ("Turn the record into JSON.", "{" + ", ".join(f'"{k}": "{v}"' for k, v in record) + "}"),
        ("List the fields.", ", ".join(k for k, _ in record)),
    ))
    body = ("\n" if rng.random() < 0.7 else "; ").join(f"{k}: {v}" for k, v in record)
    return f"{request}\n\n{body}", answer


def _about_phrase(rng: Random, lexicon: Lexicon) -> tuple[str, str]:
    words = _items(rng, lexicon, 1, 5)
    phrase = " ".join(words)
    request, answer = rng.choice((
        ("Rewrite in upper case: {}", phrase.upper()),
        ("Rewrite in upper case: {}", phrase.upper()),
        ("Write this in capital letters: {}", phrase.upper()),
        ("Capitalise every word: {}", phrase.title()),
        ("Repeat after me: {}", phrase),
        ("Say this twice: {}", f"{phrase} {phrase}"),
        ("Put this in quotes: {}", f'"{phrase}"'),
        ("Reverse the order of the words: {}", " ".join(reversed(words))),
        ("How many words are in this phrase: {}", str(len(words))),
        ("Spell this word: {}", "-".join(words[0])),
    ))
    if request.startswith("Spell"):
        return request.format(words[0]), answer
    if rng.random() < 0.1 and "upper" in request:
        return f"Rewrite in lower case: {phrase.upper()}", phrase
    return request.format(phrase), answer


def _chat(rng: Random, lexicon: Lexicon) -> tuple[str, str]:
    questions, answer = rng.choice(CHAT)
    return rng.choice(questions), answer


REQUESTS: tuple[tuple[Callable[[Random, Lexicon], tuple[str, str]], float], ...] = (
    (_about_list, 5), (_about_record, 3), (_about_phrase, 3), (_chat, 0.6),
)


def instruction(rng: Random, lexicon: Lexicon, turns: int = 1) -> Sample:
    """One or more independent requests in one chat."""
    makers = rng.choices([maker for maker, _ in REQUESTS], [weight for _, weight in REQUESTS], k=turns)
    return Sample([], [Turn(*maker(rng, lexicon)) for maker in makers], filler=False)
