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
    tokens_per_step: int = 65536
    #: Share of sequences whose positions jump, so that distances up to the whole context are seen early.
    skip: float = 0.5
    dropout: float = 0.0
    #: Loss weight of filler tokens inside tasks; running text has weight 1.
    filler_weight: float = 0.0
    #: One step of `REFRESH` follows every so many steps (0: none), so that long phases forget nothing short.
    refresh_every: int = 0


@dataclass(frozen=True)
class Run:
    """Phases trained in one go. The rate is `peak` of the configured one, from `flat` of the way on falling to `end`."""

    phases: tuple[Phase, ...]
    peak: float = 1.0
    flat: float = 0.5
    end: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    name: str
    model: ModelConfig
    #: A run resumes from the weights of the one before.
    runs: tuple[Run, ...]
    muon_lr: float = 0.02
    adam_lr: float = 0.004
    weight_decay: float = 0.1
    warmup_steps: int = 60
    answer_weight: float = 2.0
    copy_weight: float = 0.5
    #: Strength of the sparsity penalty: per layer, how far mean over root mean square of the hidden activations lies
    #: above `activity_target`. The ratio ignores scale; 0.3 goes with about 16 % of the neurons live.
    activity_penalty: float = 0.0
    activity_target: float = 0.28
    #: How often the encyclopaedia is read relative to its size.
    wiki_weight: float = 2.0
    #: Up to this share of a text row's input tokens is replaced at random.
    blur: float = 0.15
    seed: int = 20240917


def plan_steps(run: Run) -> list[Phase]:
    """The phase of every step of a run."""
    steps: list[Phase] = []
    for phase in run.phases:
        for index in range(phase.steps):
            steps.append(phase)
            if phase.refresh_every and index % phase.refresh_every == phase.refresh_every - 1:
                steps.append(REFRESH)
    return steps


REFRESH = Phase(2048, 0, 0.12, 0.02, 0.8, 0.06, skip=0.3)
TINY = ModelConfig(vocabulary=4096, width=384, layers=8, heads=6, kv_heads=2, hidden=1536, context=131072,
                   rope_base=1e7)
MINI = ModelConfig(vocabulary=2048, width=256, layers=4, heads=4, kv_heads=2, hidden=768, context=8192,
                   rope_base=1e6)
SMALL = replace(TINY, width=256, heads=4, hidden=1024, layers=6)

CONFIGS: dict[str, TrainConfig] = {
    # Step times on one H100 in ms, by length: 512 27, 2048 31, 8192 50, 32768 132 (65,536 tokens), 131072 901.
    "tiny": TrainConfig(
        "tiny", TINY,
        (
            Run((
                Phase(512, 1000, 0.28, 0.17, 0.5, 0.05, dropout=0.05),
                Phase(1024, 1000, 0.25, 0.1, 0.6, 0.05, dropout=0.05),
                Phase(2048, 1400, 0.25, 0.07, 0.6, 0.08, dropout=0.05),
                Phase(4096, 1000, 0.2, 0.05, 0.7, 0.05, dropout=0.05),
                Phase(8192, 800, 0.1, 0.05, 0.85, 0.0, skip=0.4, refresh_every=2, filler_weight=0.02),
                Phase(16384, 500, 0.05, 0.05, 0.9, 0.0, skip=0.3, refresh_every=2, filler_weight=0.02),
                Phase(32768, 300, 0.05, 0.03, 0.92, 0.0, skip=0.2, refresh_every=2, filler_weight=0.02),
                Phase(65536, 120, 0.0, 0.03, 0.97, 0.0, skip=0.1, refresh_every=2, filler_weight=0.02),
                Phase(131072, 60, 0.0, 0.0, 1.0, 0.0, 131072, skip=0.0, refresh_every=1, filler_weight=0.02),
            ), peak=1.0, flat=0.6, end=0.3),
            Run((
                Phase(512, 1200, 0.06, 0.06, 0.83, 0.05, skip=0.4),
                Phase(1024, 1200, 0.06, 0.04, 0.85, 0.05, skip=0.4),
                Phase(2048, 1300, 0.08, 0.03, 0.84, 0.05, skip=0.4),
                Phase(4096, 800, 0.08, 0.02, 0.86, 0.04, skip=0.3),
                Phase(8192, 500, 0.04, 0.02, 0.94, 0.0, skip=0.2, refresh_every=5),
                Phase(16384, 300, 0.0, 0.02, 0.98, 0.0, skip=0.2, refresh_every=3),
                Phase(32768, 180, 0.0, 0.02, 0.98, 0.0, skip=0.1, refresh_every=3),
                Phase(65536, 70, 0.0, 0.0, 1.0, 0.0, skip=0.0, refresh_every=2),
                Phase(131072, 45, 0.0, 0.0, 1.0, 0.0, 131072, skip=0.0, refresh_every=1),
            ), peak=0.8, flat=0.5),
        ),
        activity_penalty=0.5, activity_target=0.24,
    ),
    "mini": TrainConfig(
        "mini", MINI,
        (Run((Phase(512, 900, 0.5, 0.1, 0.35, 0.05, 32768), Phase(2048, 500, 0.5, 0.05, 0.4, 0.05, 32768))),),
        adam_lr=0.003, wiki_weight=4.0, activity_penalty=0.3,
    ),
    "cpu": TrainConfig(
        "cpu", SMALL,
        (Run((
            Phase(256, 4000, 0.3, 0.2, 0.45, 0.05, 8192),
            Phase(512, 3000, 0.3, 0.1, 0.55, 0.05, 8192, skip=0.8),
            Phase(2048, 600, 0.25, 0.05, 0.65, 0.05, 8192, skip=0.9),
            Phase(8192, 150, 0.2, 0.05, 0.7, 0.05, 8192, skip=0.9),
        )),),
        adam_lr=0.003, activity_penalty=0.3,
    ),
}
