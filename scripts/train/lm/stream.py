"""Batches made ahead by worker processes."""

from __future__ import annotations

import multiprocessing as mp
from pathlib import Path
from random import Random

from tokenizers import Tokenizer

from scripts.train.lm.config import Phase, TrainConfig
from scripts.train.lm.data import Batch, Source

#: Batches that a worker keeps ready.
_AHEAD = 4


def batch_of(source: Source, phase: Phase, tokens: int, seed: int, step: int, rank: int) -> Batch:
    """The batch of a step on one of several devices. It depends on nothing else."""
    return source.batch(phase, tokens, Random(f"{seed} {step} {rank}"))


def _work(corpus: Path, tokenizer: str, config: TrainConfig, plan: list[Phase], tokens: list[int], seed: int, rank: int,
          first: int, stride: int, floor, queue: mp.Queue) -> None:
    source = Source(corpus, Tokenizer.from_file(tokenizer), config)
    for step in range(first, len(plan), stride):
        if step >= floor.value:
            queue.put((step, batch_of(source, plan[step], tokens[step], seed, step, rank)))


class BatchStream:
    """Batches of `plan` in order, `tokens[step]` tokens each. Start it before the process uses a GPU: the workers are
    forks of it."""

    def __init__(self, corpus: Path, tokenizer: Path, config: TrainConfig, plan: list[Phase], tokens: list[int],
                 seed: int, rank: int, workers: int) -> None:
        context = mp.get_context("fork")
        self._floor = context.Value("l", 0, lock=False)
        self._queues = [context.Queue(maxsize=_AHEAD) for _ in range(workers)]
        self._processes = [
            context.Process(target=_work, daemon=True, args=(corpus, str(tokenizer), config, plan, tokens, seed, rank,
                                                             index, workers, self._floor, queue))
            for index, queue in enumerate(self._queues)
        ]
        for process in self._processes:
            process.start()

    def get(self, step: int) -> Batch:
        """The batch of `step`; those of earlier steps that were made and not asked for are dropped, and the workers
        make no more of them."""
        self._floor.value = step
        while True:
            made, batch = self._queues[step % len(self._queues)].get(timeout=120)
            if made == step:
                return batch
            if made > step:
                raise RuntimeError(f"batch {made} arrived where {step} was expected")

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for queue in self._queues:
            queue.cancel_join_thread()
