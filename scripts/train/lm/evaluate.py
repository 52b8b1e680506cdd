"""Scores a checkpoint in PyTorch: task accuracy by context length on the wordings of training and on held-out ones, bits
per byte, activation sparsity. Several processes share each GPU: decoding one token at a time leaves it idle.

    python -m scripts.train.lm.evaluate --weights DIR --corpus FILE --data DIR --tokenizer FILE --json FILE
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer

from scripts.train.lm.corpus import HELD_OUT_BOOK, read_text
from scripts.train.lm.export import load_weights
from scripts.train.lm.judge import Evaluator
from scripts.train.lm.lexicon import Split
from scripts.train.lm.prepare import Corpus
from scripts.train.lm.tasks import FAMILIES

TASKS = tuple(task for task in FAMILIES if task not in ("recall", "scattered"))
#: Tasks with one question a context.
SINGLE = ("single_needle", "passkey", "common_words", "frequent_words")
WORDINGS: tuple[Split, ...] = ("train", "held_out")
_QUESTIONS = 8


class Contexts(NamedTuple):
    """Contexts that are asked about side by side; `indices` tell them from others of their cell."""

    wording: Split
    length: int
    task: str
    indices: list[int]


def together(length: int, single: bool) -> int:
    """How many contexts are read at once: their keys take 8 KiB a token in f32 and decoding waits for the processor."""
    return min(16 if single else 6, max(1, 262144 // length))


def contexts(lengths: list[int], tasks: list[str], wordings: list[Split], answers: int, single: int) -> list[Contexts]:
    """All contexts, in an order that gives every cell the same share of its answers, so that time may run out at any
    point: `answers` for each cell of a task with several questions a context, `single` for the others."""
    each: list[tuple[float, Contexts]] = []
    for task in tasks:
        count = single if task in SINGLE else -(-answers // _QUESTIONS)
        for length in lengths:
            size = together(length, task in SINGLE)
            each += [(first / count, Contexts(wording, length, task, list(range(first, min(count, first + size)))))
                     for first in range(0, count, size) for wording in wordings]
    return [context for _, context in sorted(each, key=lambda pair: pair[0])]


def _work(rank: int, count: int, a: argparse.Namespace, started: float, folder: str, taken: Synchronized[int]) -> None:
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1 if count > 1 else torch.get_num_threads())
    model, _ = load_weights(a.weights)
    model.to(torch.device("cuda", rank % torch.cuda.device_count()) if cuda else "cpu")
    judge = Evaluator(model, Tokenizer.from_file(str(a.tokenizer)), a.data, Corpus.load(a.corpus).words, a.show)
    found: list[tuple[Contexts, list[float]]] = []
    texts: dict[str, float] = {}

    def save() -> None:
        made = Path(folder, f"{rank}.part")
        made.write_text(json.dumps([texts, found]))
        made.replace(Path(folder, f"{rank}.json"))

    if rank == 0 and not a.no_text:
        wiki = read_text(a.data, "wikitext2_test.txt")
        texts["wikitext2_test/bits_per_byte"] = judge.bits_per_byte(wiki)
        texts["held_out_book/bits_per_byte"] = judge.bits_per_byte(read_text(a.data, HELD_OUT_BOOK), most=120_000)
        for layer, share in enumerate(judge.sparsity(wiki)):
            texts[f"ffn_L{layer}/activation_sparsity"] = share
        print({name: round(value, 3) for name, value in texts.items()}, flush=True)
        save()
    each = contexts(a.lengths, a.tasks, a.wordings, a.answers, a.single or a.answers)
    while time.monotonic() - started < a.seconds:
        with taken.get_lock():
            index, taken.value = taken.value, taken.value + 1
        if index >= len(each):
            break
        one = each[index]
        seeds = [f"{a.seed} {one.length} {one.task} {index}" for index in one.indices]
        values = judge.scores(one.task, one.length, one.wording, 1 if one.task in SINGLE else _QUESTIONS, seeds)
        found.append((one, sum(values, [])))
        # A process that is cut off leaves what it has.
        save()


def merge(parts: list[list]) -> dict[str, float]:
    """Means and numbers of answers by cell."""
    scores: dict[str, float] = {}
    cells: dict[str, list[float]] = {}
    for texts, found in parts:
        scores.update(texts)
        for (wording, length, task, _), values in found:
            name = f"{task}_{length // 1024}k" + ("" if wording == "train" else "_held_out_wording")
            cells.setdefault(name, []).extend(values)
    for name, values in cells.items():
        scores[f"{name}/accuracy"] = sum(values) / len(values)
        scores[f"{name}/answers"] = len(values)
    return scores


def table(scores: dict[str, float]) -> str:
    """Accuracy and number of answers, a line for each task and wording."""
    lengths = sorted({int(name.split("/")[0].removesuffix("_held_out_wording").rsplit("_", 1)[1][:-1])
                      for name in scores if name.endswith("/accuracy")})
    lines = [f"{'':34}" + "".join(f"{f'{length}k':>12}" for length in lengths)]
    for suffix in ("", "_held_out_wording"):
        for task in TASKS:
            cells = [(f"{task}_{length}k{suffix}/accuracy", f"{task}_{length}k{suffix}/answers") for length in lengths]
            if any(name in scores for name, _ in cells):
                lines.append(f"{task + suffix:34}" + "".join(
                    f"{scores[name]:6.3f} ({scores[count]:3.0f})" if name in scores else " " * 12 for name, count in cells))
    return "\n".join(lines)


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder written by the trainer, or GGUF file")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--lengths", type=lambda text: [int(x) for x in text.split(",")], default=[1024, 4096, 16384])
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=list(TASKS))
    parser.add_argument("--wordings", type=lambda text: text.split(","), default=list(WORDINGS), help="train,held_out")
    parser.add_argument("--answers", type=int, default=32, help="answers in a cell to aim for")
    parser.add_argument("--single", type=int, help="the same for tasks with one question a context")
    parser.add_argument("--processes", type=int, help="default: four for each GPU, or one")
    parser.add_argument("--no-text", action="store_true", help="skip bits per byte and sparsity")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--show", action="store_true", help="print every answer that is not fully right")
    parser.add_argument("--json", type=Path, help="written every few seconds")
    a = parser.parse_args()
    count = a.processes or (4 * torch.cuda.device_count() if torch.cuda.is_available() else 1)
    taken = mp.get_context("spawn").Value("q", 0)
    scores: dict[str, float] = {}

    def read() -> None:
        scores.update(merge([json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]))
        if a.json:
            a.json.write_text(json.dumps(scores, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        if count == 1:
            _work(0, 1, a, started, folder, taken)
        else:
            workers = mp.spawn(_work, args=(count, a, started, folder, taken), nprocs=count, join=False)
            while not workers.join(timeout=5):
                read()
        read()
    print(table(scores))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
