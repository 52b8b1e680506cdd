"""Batches: running text, repeated random segments, generated tasks and instructions, assembled by worker processes."""

from __future__ import annotations

import multiprocessing as mp
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from tokenizers import Tokenizer

from scripts.train.lm.config import Phase, TrainConfig
from scripts.train.lm.corpus import PLAY, WIKI
from scripts.train.lm.dialogue import Dialogue, Filler, dialogue
from scripts.train.lm.instructions import instruction
from scripts.train.lm.lexicon import Lexicon, common_words
from scripts.train.lm.prepare import Corpus
from scripts.train.lm.prose import prose_sentences
from scripts.train.lm.sample import Sample
from scripts.train.lm.tasks import ALONE, DENSITY, FAMILIES, LONE, LONG, PACKED
from scripts.train.lm.templates import INTROS
from scripts.train.lm.tokenizer import FastEncoder

#: Verse in short lines teaches little about prose.
PLAY_WEIGHT = 0.7


@dataclass
class Batch:
    """Rows of one length. `weights[i]` belongs to the prediction of `targets[i]`."""

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    positions: np.ndarray


class Source:
    """Everything a worker needs to make sequences."""

    def __init__(self, corpus: Path, tokenizer: Tokenizer, config: TrainConfig) -> None:
        self.config = config
        self.encode = FastEncoder(tokenizer)
        prepared = Corpus.load(corpus)
        self.texts = prepared.texts
        plain = [tokenizer.decode(ids.tolist()) for ids in self.texts.values()]
        lexicon = Lexicon.of(prepared.words, "train", "train")
        self.lexicon = replace(lexicon, sentences=tuple(each for text in plain for each in prose_sentences(text)),
                               common=tuple(common_words(plain, lexicon.words)))
        self.names = list(self.texts)
        weight = {WIKI: config.wiki_weight, PLAY: PLAY_WEIGHT}
        sizes = np.array([len(self.texts[name]) * weight.get(name, 1.0) for name in self.names])
        self.shares = np.cumsum(sizes / sizes.sum())
        ends = {index for index in range(tokenizer.get_vocab_size())
                if tokenizer.decode([index]).rstrip('"').endswith((".", "!", "?"))}
        self.filler = Filler(np.concatenate([self.texts[name] for name in self.names]), ends)
        self.families = list(FAMILIES)
        self.family_shares = [[shares[long] for _, *shares in FAMILIES.values()] for long in (False, True)]

    def text_row(self, length: int, rng: Random) -> tuple[list[int], list[float]]:
        ids = self.texts[self.names[int(np.searchsorted(self.shares, rng.random()))]]
        if len(ids) <= length:
            ids = self.filler.ids
        start = rng.randrange(len(ids) - length)
        return ids[start:start + length].tolist(), [1.0] * length

    def blur(self, ids: np.ndarray, rng: Random) -> None:
        """Replaces a share of a text row's inputs by random tokens, in place: the books are few and read many times,
        and what has holes cannot be recited."""
        noise = np.random.default_rng(rng.getrandbits(32))
        holes = noise.random(len(ids)) < rng.uniform(0.0, self.config.blur)
        ids[holes] = noise.integers(0, self.config.model.vocabulary, int(holes.sum()))

    def copy_row(self, length: int, rng: Random) -> tuple[list[int], list[float]]:
        """Random segments and later repetitions of parts of them; only what can be known is learnt."""
        vocabulary = self.config.model.vocabulary
        ids: list[int] = []
        weights: list[float] = []
        segments: list[list[int]] = []
        longest = rng.choice((8, 16, 32, 64))
        alphabet = vocabulary if rng.random() < 0.6 else rng.randint(16, 256)
        offset = rng.randrange(vocabulary - alphabet + 1)
        while len(ids) < length:
            if len(segments) < 2 or rng.random() < 0.35:
                size = rng.randint(4, longest)
                if rng.random() < 0.25:
                    segment = self.filler.take(size, rng)[0]
                else:
                    segment = [offset + int(rng.random() * alphabet) for _ in range(size)]
                segments.append(segment)
                ids += segment
                weights += [0.0] * len(segment)
            else:
                segment = segments[int(rng.random() * len(segments))]
                part = segment[rng.randrange(max(1, len(segment) - 4)):]
                ids += part
                weights += [0.0, 0.0][:len(part)] + [self.config.copy_weight] * (len(part) - 2)
        return ids[:length], weights[:length]

    def family(self, length: int, rng: Random) -> str:
        return rng.choices(self.families, self.family_shares[length >= LONG])[0]

    def task_sample(self, name: str, length: int, rng: Random) -> Sample:
        generator = FAMILIES[name][0]
        # A fact takes about 24 tokens and its turn 35. Turns go on until the row is full.
        most = max(2, length // 45)
        # Mostly many: questions are what is learnt from, and few facts are the easy case.
        facts = max(1, round(most ** rng.uniform(0.4 if rng.random() < 0.3 else 0.75, 1.0) * DENSITY.get(name, 1)))
        # Of the longest rows an eighth is questions: a step there is dear.
        queries = max(2, min(length // 16, max(192, length // 256)))
        sample = generator(rng, self.lexicon, facts, queries)
        # Long identifiers: fewer facts, so that the questions are not cut off.
        while facts > 1 and _tokens(sample) > 0.75 * length:
            facts = facts * 2 // 3
            sample = generator(rng, self.lexicon, facts, queries)
        if sample.filler and name not in ALONE and length >= 768 and rng.random() < 0.4:
            second = self.family(length, rng)
            other = FAMILIES[second][0](rng, self.lexicon, max(1, facts // 2), queries)
            if second not in ALONE and other.filler and _tokens(sample) + _tokens(other) < 0.75 * length:
                sample = _interleave(sample, other, rng)
        if sample.filler and rng.random() < 0.4:
            sample.intro = rng.choice(INTROS)
        return sample

    def story(self, length: int, rng: Random) -> tuple[list[int], list[float]]:
        """Two forms on running text: continue it, or repeat it word for word."""
        repeat = rng.random() < 0.5
        size = min(length // 2 - 24, rng.randint(24, 160))
        text, _ = self.filler.take(size * (1 if repeat else 2), rng)
        made = Dialogue(self.encode, self.config.answer_weight)
        made.open("user")
        made.add(self.encode(rng.choice(("Repeat the following text exactly.\n", "Copy this text:\n", "Repeat:\n")
                                        if repeat else ("Continue the story.\n", "Go on with this text:\n",
                                                        "Continue:\n", "Write what comes next.\n"))))
        made.add(text[:size])
        made.close()
        made.open("assistant")
        made.add(text[:size] if repeat else text[size:], self.config.answer_weight / 2 if repeat else 1.0)
        made.close(0.5)
        return made.ids, made.weights

    def packed_row(self, length: int, chat: bool, phase: Phase, rng: Random) -> tuple[list[int], list[float]]:
        ids: list[int] = []
        weights: list[float] = []
        while length - len(ids) > 100:
            room = length - len(ids)
            part = min(room, rng.choice((256, 512, room)))
            if chat and rng.random() < 0.3:
                more = self.story(part, rng)
            elif chat:
                more = dialogue(instruction(rng, self.lexicon, rng.randint(1, 6)), part, self.encode, None, rng,
                                self.config.answer_weight)
            else:
                # Most rows are one context; a few hold several short ones.
                name = self.family(length, rng)
                lone = name in LONE
                if name in PACKED and rng.random() < (0.8 if length < 8192 else 0.3 if lone else 0.5):
                    part = min(room, rng.choice((length // 8, length // 4) if length >= LONG else
                                                (256, 256, 512, 1024) if lone else (256, 512, 1024, 1024, 2048)))
                elif rng.random() >= 0.15:
                    part = room
                # One fact and nothing else is found without a question.
                hidden = rng.random() < (0.95 if lone else 0.35 if length <= 1024 else 0.85)
                # The one answer of a long context counts like the many of others.
                weight = self.config.answer_weight * (min(8.0, max(1.0, part / 1024)) if lone else 1.0)
                more = dialogue(self.task_sample(name, part, rng), part, self.encode, self.filler if hidden else None, rng,
                                weight, phase.filler_weight)
            ids += more[0] + [self.encode.end_of_text]
            weights += more[1] + [0.0]
        if len(ids) < length:
            more_ids, _ = self.filler.take(length - len(ids), rng)
            ids += more_ids
            weights += [0.0] * len(more_ids)
        return ids[:length], weights[:length]

    def batch(self, phase: Phase, tokens: int, rng: Random) -> Batch:
        """Rows of the phase's length that hold `tokens` tokens together, but at least one."""
        length = phase.length
        rows = max(1, tokens // length)
        ids = np.empty((rows, length + 1), dtype=np.uint16)
        weights = np.empty((rows, length + 1), dtype=np.float32)
        positions = np.empty((rows, length), dtype=np.int32)
        texts: list[int] = []
        shares = (phase.text, phase.copy, phase.task, phase.chat)
        for row in range(rows):
            kind = rng.choices((0, 1, 2, 3), shares)[0]
            if kind == 0:
                texts.append(row)
                made = self.text_row(length + 1, rng)
            elif kind == 1:
                made = self.copy_row(length + 1, rng)
            else:
                made = self.packed_row(length + 1, kind == 3, phase, rng)
            ids[row], weights[row] = made
            # Running text mostly keeps its own distances: it is what short-range habits are learnt from.
            skip = phase.skip * (0.3 if kind == 0 else 1.0)
            positions[row] = skipped_positions(length, self.config.model.context, rng) if (
                rng.random() < skip) else np.arange(length)
        inputs = ids[:, :-1].copy()
        for row in texts:
            self.blur(inputs[row], rng)
        return Batch(inputs, ids[:, 1:].copy(), weights[:, 1:].astype(np.float16), positions)


def skipped_positions(length: int, context: int, rng: Random) -> np.ndarray:
    """Positions in up to four runs with gaps between (PoSE, Zhu et al. 2024): a short row then holds the distances of
    a long one. The span is log-uniform up to the whole context."""
    span = min(context, int(length * (context / length) ** rng.random()))
    jumps = np.zeros(length, dtype=np.int32)
    gaps = rng.randint(1, 3)
    parts = np.sort(np.array([rng.random() for _ in range(gaps)]))
    for gap, share in zip(range(gaps), np.diff(np.concatenate(([0.0], parts)))):
        jumps[rng.randrange(1, length)] += int(share * (span - length))
    return np.arange(length, dtype=np.int32) + np.cumsum(jumps)


def _tokens(sample: Sample) -> float:
    """About how many tokens the statements take: identifiers have two characters a token, words four."""
    return 0.4 * sum(map(len, sample.statements))


def _interleave(a: Sample, b: Sample, rng: Random) -> Sample:
    """Both samples' statements in one context, each in its own order, and their turns mixed."""
    order = [0] * len(a.statements) + [1] * len(b.statements)
    rng.shuffle(order)
    streams = (iter(a.statements), iter(b.statements))
    turns = a.turns + b.turns
    rng.shuffle(turns)
    return Sample([next(streams[which]) for which in order], turns, intro=a.intro)


