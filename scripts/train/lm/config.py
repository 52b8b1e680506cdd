"""What is trained and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scripts.train.lm.model import ModelConfig


@dataclass(frozen=True)
class Phase:
    """`steps` optimiser steps on sequences of `length` tokens. Shares are of sequences and need not sum to 1."""

    length: int
    steps: int
    text: float
    copy: float
    task: float
    chat: float
    #: Share of sequences whose positions jump, so that distances up to the whole context are seen early.
    skip: float = 0.5
    dropout: float = 0.0
    #: Loss weight of filler tokens inside tasks; running text has weight 1.
    filler_weight: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    name: str
    model: ModelConfig
    #: Runs of phases; a run resumes from the weights of the one before.
    runs: tuple[tuple[Phase, ...], ...]
    tokens_per_step: int
    muon_lr: float = 0.02
    adam_lr: float = 0.004
    weight_decay: float = 0.1
    warmup_steps: int = 60
    #: Share of all steps over which the rate falls linearly to zero.
    decay_share: float = 0.5
    answer_weight: float = 2.0
    copy_weight: float = 0.5
    #: Weight of the mean hidden activation in the loss: keeps squared-ReLU neurons sparse.
    activity_penalty: float = 0.0
    seed: int = 20240917


TINY = ModelConfig(vocabulary=4096, width=384, layers=8, heads=6, kv_heads=2, hidden=1536, context=131072,
                   rope_base=1e7)
MINI = ModelConfig(vocabulary=2048, width=256, layers=4, heads=4, kv_heads=2, hidden=768, context=8192,
                   rope_base=1e6)
SMALL = replace(TINY, width=256, heads=4, hidden=1024, layers=6)

CONFIGS: dict[str, TrainConfig] = {
    "tiny": TrainConfig(
        "tiny", TINY,
        ((Phase(512, 400, 0.3, 0.2, 0.45, 0.05),), (Phase(2048, 400, 0.3, 0.1, 0.55, 0.05),)),
        tokens_per_step=131072,
    ),
    "mini": TrainConfig(
        "mini", MINI,
        ((Phase(512, 900, 0.5, 0.1, 0.35, 0.05), Phase(2048, 500, 0.5, 0.05, 0.4, 0.05)),),
        tokens_per_step=32768, adam_lr=0.003,
    ),
    "cpu": TrainConfig(
        "cpu", SMALL,
        ((Phase(256, 4000, 0.3, 0.2, 0.45, 0.05), Phase(512, 3000, 0.3, 0.1, 0.55, 0.05, skip=0.8),
          Phase(2048, 600, 0.25, 0.05, 0.65, 0.05, skip=0.9), Phase(8192, 150, 0.2, 0.05, 0.7, 0.05, skip=0.9)),),
        tokens_per_step=8192, muon_lr=0.02, adam_lr=0.003,
    ),
    "probe": TrainConfig(
        "probe", replace(TINY, vocabulary=2048, width=128, heads=2, kv_heads=1, hidden=384, layers=4),
        ((Phase(256, 3000, 0.15, 0.25, 0.6, 0.0),),), tokens_per_step=4096, muon_lr=0.02, adam_lr=0.004,
    ),
}
