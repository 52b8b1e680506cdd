"""The training and evaluation texts, cleaned the same way everywhere."""

from __future__ import annotations

import re
from pathlib import Path

#: Public-domain books that are trained on. `2701-0.txt` (Moby Dick) is held out, test files are never opened here.
TRAINING_BOOKS = ("135-0.txt", "2600-0.txt", "4300-0.txt", "996.txt")
PLAY = "tinyshakespeare.txt"
WIKI = "wikitext2_valid.txt"
HELD_OUT_BOOK = "2701-0.txt"
#: The last share of the encyclopaedia file watches for over-fitting and is not trained on.
WIKI_WATCH_SHARE = 0.05

_START = re.compile(r"\*\*\* ?START OF TH(?:IS|E) PROJECT GUTENBERG EBOOK.*?\*\*\*", re.S)
_END = re.compile(r"(?:\*\*\* ?END OF TH(?:IS|E) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)", re.I)
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\ufeff": "", "\r": "", "_": ""})


def clean_book(raw: str) -> str:
    """Drops the distributor's header and licence, straightens quotes and joins hard-wrapped lines."""
    start = _START.search(raw)
    end = _END.search(raw, start.end() if start else 0)
    body = raw[start.end() if start else 0:end.start() if end else len(raw)].translate(_QUOTES)
    paragraphs = (re.sub(r"\s*\n\s*", " ", part).strip() for part in re.split(r"\n\s*\n", body))
    return "\n\n".join(part for part in paragraphs if part) + "\n"


def read_text(data: Path, name: str) -> str:
    """The file under `data/text`, cleaned when it is a book, as it is otherwise."""
    raw = (data / "text" / name).read_text(encoding="utf-8", errors="replace")
    return raw if name in (PLAY, WIKI) or name.startswith("wikitext") else clean_book(raw)


def training_texts(data: Path) -> dict[str, str]:
    """Name to text, the encyclopaedia's watched tail left out."""
    texts = {name: read_text(data, name) for name in (*TRAINING_BOOKS, PLAY, WIKI)}
    texts[WIKI] = texts[WIKI][:_watch_start(texts[WIKI])]
    return texts


def watch_text(data: Path) -> str:
    """The tail of the encyclopaedia file that training leaves out."""
    text = read_text(data, WIKI)
    return text[_watch_start(text):]


def _watch_start(text: str) -> int:
    return text.index("\n", int(len(text) * (1 - WIKI_WATCH_SHARE))) + 1
