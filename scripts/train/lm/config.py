"""What is trained and in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scripts.train.lm.model_config import ModelConfig


@dataclass(frozen=True)
class Phase:
    """Sequences of `length` tokens, for at most `steps` optimiser steps or, in a run bounded by the clock, for `share`
    of its time (relative to the other phases' shares). The shares of kinds are of sequences and need not sum to 1."""

    length: int
    steps: int
    text: float
    copy: float
    task: float
    chat: float
    share: float = 1.0
    #: Tokens of a step on each device.
    tokens: int = 65536
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
    #: Price of the share of attention that goes far, beyond `near.FIRST` and `near.LAST` (mean over layers and heads).
    near_penalty: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    name: str
    model: ModelConfig
    #: A run resumes from the weights of the one before.
    runs: tuple[Run, ...]
    #: Fewest tokens of a step over all devices.
    least_tokens: int = 0
    muon_lr: float = 0.02
    adam_lr: float = 0.004
    weight_decay: float = 0.1
    warmup_steps: int = 60
    #: Of an answer's tokens, next to 1 for running text.
    answer_weight: float = 4.0
    copy_weight: float = 0.5
    #: Price, summed over layers, of the share of neurons by which a token's firing ones lie above `most_live`.
    sparsity_penalty: float = 0.0
    most_live: float = 0.21
    #: How often the encyclopaedia is read relative to its size.
    wiki_weight: float = 2.0
    #: Up to this share of a text row's input tokens is replaced at random.
    blur: float = 0.2
    #: A gradient longer than this many times the running mean of lengths is cut to that length.
    most_gradient: float = 2.5
    seed: int = 20241128


@dataclass(frozen=True)
class Step:
    """One step of a plan: what is read, and the index of the phase in whose time it falls."""

    phase: Phase
    index: int


def plan_steps(run: Run) -> list[Step]:
    """Every step of a run."""
    steps: list[Step] = []
    for index, phase in enumerate(run.phases):
        for number in range(1, phase.steps + 1):
            steps.append(Step(phase, index))
            if phase.refresh_every and number % phase.refresh_every == 0:
                steps.append(Step(REFRESH, index))
    return steps


def tokens_per_device(phase: Phase, config: TrainConfig, devices: int) -> int:
    return max(phase.tokens, config.least_tokens // devices)


#: Mostly tasks, and as much running text as keeps prose: beside long steps it costs little time.
REFRESH = Phase(2048, 0, 0.25, 0.01, 0.68, 0.06, skip=0.3)
TINY = ModelConfig(vocabulary=4096, width=384, layers=8, heads=6, kv_heads=2, hidden=1536, context=131072,
                   rope_base=1e7)
MINI = ModelConfig(vocabulary=2048, width=256, layers=4, heads=4, kv_heads=2, hidden=768, context=8192,
                   rope_base=1e6)
SMOKE = ModelConfig(vocabulary=4096, width=128, layers=3, heads=2, kv_heads=1, hidden=512, context=8192, rope_base=1e5)
SMALL = replace(TINY, width=256, heads=4, hidden=1024, layers=6)

CONFIGS: dict[str, TrainConfig] = {
    # Step times on one H100 in ms, by length: 512 27, 2048 31, 8192 50, 32768 132 (65,536 tokens), 131072 901. Short
    # phases take half as many tokens a step on every device where there are several: they learn by the step. `steps` is
    # more than fits: the clock ends a phase.
    "tiny": TrainConfig(
        "tiny", TINY,
        (
            Run((
                Phase(512, 12000, 0.08, 0.12, 0.75, 0.05, 0.14, 32768, dropout=0.05),
                Phase(1024, 10000, 0.05, 0.08, 0.82, 0.05, 0.13, 32768, dropout=0.05),
                Phase(2048, 10000, 0.05, 0.05, 0.84, 0.06, 0.15, 32768, dropout=0.05),
                Phase(4096, 5000, 0.04, 0.03, 0.88, 0.05, 0.15),
                Phase(8192, 4000, 0.04, 0.03, 0.91, 0.02, 0.14, skip=0.4, refresh_every=3, filler_weight=0.02),
                Phase(16384, 2000, 0.03, 0.03, 0.94, 0.0, 0.11, skip=0.3, refresh_every=2, filler_weight=0.02),
                Phase(32768, 1200, 0.03, 0.02, 0.95, 0.0, 0.09, skip=0.2, refresh_every=2, filler_weight=0.02),
                Phase(65536, 500, 0.0, 0.02, 0.98, 0.0, 0.05, skip=0.1, refresh_every=2, filler_weight=0.02),
                Phase(131072, 300, 0.0, 0.0, 1.0, 0.0, 0.05, 131072, skip=0.0, refresh_every=1, filler_weight=0.02),
            ), peak=1.0, flat=0.6, end=0.3),
            # What is asked of long contexts is learnt in short ones, where a second holds more answers.
            Run((
                Phase(1024, 9000, 0.03, 0.02, 0.9, 0.05, 0.24, 32768, skip=0.3),
                Phase(2048, 12000, 0.03, 0.01, 0.91, 0.05, 0.27, 32768, skip=0.4),
                Phase(4096, 6000, 0.03, 0.01, 0.92, 0.04, 0.14, skip=0.3),
                Phase(8192, 4000, 0.04, 0.0, 0.96, 0.0, 0.07, skip=0.2, refresh_every=3),
                Phase(16384, 2000, 0.04, 0.0, 0.96, 0.0, 0.08, skip=0.2, refresh_every=2),
                Phase(32768, 1500, 0.02, 0.0, 0.98, 0.0, 0.08, skip=0.1, refresh_every=1),
                Phase(65536, 800, 0.0, 0.0, 1.0, 0.0, 0.05, skip=0.0, refresh_every=1),
                Phase(131072, 400, 0.0, 0.0, 1.0, 0.0, 0.07, 131072, skip=0.0, refresh_every=1),
            ), peak=0.8, flat=0.3),
            # Other wordings, several nouns under a key, and more running text. It ends where the last run could still
            # be missing.
            Run((
                Phase(1024, 9000, 0.2, 0.01, 0.74, 0.05, 0.2, 32768, skip=0.3),
                Phase(2048, 12000, 0.18, 0.01, 0.76, 0.05, 0.27, 32768, skip=0.4),
                Phase(4096, 6000, 0.15, 0.01, 0.8, 0.04, 0.18, skip=0.3),
                Phase(8192, 4000, 0.12, 0.0, 0.88, 0.0, 0.09, skip=0.2, refresh_every=3),
                Phase(16384, 2000, 0.08, 0.0, 0.92, 0.0, 0.08, skip=0.2, refresh_every=2),
                Phase(32768, 1500, 0.02, 0.0, 0.98, 0.0, 0.08, skip=0.1, refresh_every=1),
                Phase(65536, 800, 0.0, 0.0, 1.0, 0.0, 0.05, skip=0.0, refresh_every=1),
                Phase(131072, 400, 0.0, 0.0, 1.0, 0.0, 0.05, 131072, skip=0.0, refresh_every=1),
            ), peak=0.75, flat=0.4, end=0.12),
            # Long contexts.
            Run((
                Phase(2048, 12000, 0.18, 0.01, 0.76, 0.05, 0.22, 32768, skip=0.4),
                Phase(4096, 6000, 0.15, 0.01, 0.8, 0.04, 0.17, skip=0.3),
                Phase(8192, 4000, 0.12, 0.0, 0.88, 0.0, 0.1, skip=0.2, refresh_every=2),
                Phase(16384, 2000, 0.08, 0.0, 0.92, 0.0, 0.09, skip=0.2, refresh_every=1),
                Phase(32768, 1500, 0.0, 0.0, 1.0, 0.0, 0.11, skip=0.1, refresh_every=1),
                Phase(65536, 800, 0.0, 0.0, 1.0, 0.0, 0.12, skip=0.0, refresh_every=1),
                Phase(131072, 400, 0.0, 0.0, 1.0, 0.0, 0.19, 131072, skip=0.0, refresh_every=1),
            ), peak=0.5, flat=0.5),
            # Frames of random words, questions that repeat some of them or name nothing: learnt in short contexts first.
            Run((
                Phase(1024, 12000, 0.16, 0.0, 0.8, 0.04, 0.24, 32768, skip=0.3),
                Phase(2048, 12000, 0.17, 0.0, 0.79, 0.04, 0.27, 32768, skip=0.4),
                Phase(4096, 6000, 0.15, 0.0, 0.81, 0.04, 0.18, skip=0.3),
                Phase(8192, 4000, 0.12, 0.0, 0.88, 0.0, 0.09, skip=0.2, refresh_every=3),
                Phase(16384, 2000, 0.08, 0.0, 0.92, 0.0, 0.07, skip=0.2, refresh_every=2),
                Phase(32768, 1500, 0.02, 0.0, 0.98, 0.0, 0.06, skip=0.1, refresh_every=1),
                Phase(65536, 800, 0.0, 0.0, 1.0, 0.0, 0.05, skip=0.0, refresh_every=1),
                Phase(131072, 400, 0.0, 0.0, 1.0, 0.0, 0.04, 131072, skip=0.0, refresh_every=1),
            ), peak=0.75, flat=0.5, end=0.2),
            # The same with longer contexts, to the end of the rate.
            Run((
                Phase(1024, 12000, 0.18, 0.0, 0.78, 0.04, 0.1, 32768, skip=0.3),
                Phase(2048, 12000, 0.18, 0.0, 0.78, 0.04, 0.17, 32768, skip=0.4),
                Phase(4096, 6000, 0.15, 0.0, 0.81, 0.04, 0.16, skip=0.3),
                Phase(8192, 4000, 0.12, 0.0, 0.88, 0.0, 0.1, skip=0.2, refresh_every=2),
                Phase(16384, 2000, 0.08, 0.0, 0.92, 0.0, 0.09, skip=0.2, refresh_every=1),
                Phase(32768, 1500, 0.0, 0.0, 1.0, 0.0, 0.1, skip=0.1, refresh_every=1),
                Phase(65536, 800, 0.0, 0.0, 1.0, 0.0, 0.13, skip=0.0, refresh_every=1),
                Phase(131072, 400, 0.0, 0.0, 1.0, 0.0, 0.15, 131072, skip=0.0, refresh_every=1),
            ), peak=0.55, flat=0.45),
            # Frames for chains too, more chains, several unrelated facts in a long context; twice as long. The weights in the
            # file were made without its price on looking far (models/sparrow-tiny.md).
            Run((
                Phase(1024, 24000, 0.17, 0.0, 0.79, 0.04, 0.15, 32768, skip=0.3),
                Phase(2048, 24000, 0.17, 0.0, 0.79, 0.04, 0.2, 32768, skip=0.4),
                Phase(4096, 12000, 0.15, 0.0, 0.81, 0.04, 0.16, skip=0.3),
                Phase(8192, 8000, 0.12, 0.0, 0.88, 0.0, 0.1, skip=0.2, refresh_every=2),
                Phase(16384, 4000, 0.08, 0.0, 0.92, 0.0, 0.09, skip=0.2, refresh_every=1),
                Phase(32768, 3000, 0.0, 0.0, 1.0, 0.0, 0.1, skip=0.1, refresh_every=1),
                Phase(65536, 1600, 0.0, 0.0, 1.0, 0.0, 0.1, skip=0.0, refresh_every=1),
                Phase(131072, 800, 0.0, 0.0, 1.0, 0.0, 0.1, 131072, skip=0.0, refresh_every=1),
            ), peak=0.7, flat=0.4, near_penalty=1.0),
            # Frames of real prose, more single facts in long contexts; from run 6 without the price. With 0.3 of it: the card.
            Run((
                Phase(1024, 24000, 0.17, 0.0, 0.79, 0.04, 0.13, 32768, skip=0.3),
                Phase(2048, 24000, 0.17, 0.0, 0.79, 0.04, 0.19, 32768, skip=0.4),
                Phase(4096, 12000, 0.15, 0.0, 0.81, 0.04, 0.16, skip=0.3),
                Phase(8192, 8000, 0.12, 0.0, 0.88, 0.0, 0.1, skip=0.2, refresh_every=2),
                Phase(16384, 4000, 0.08, 0.0, 0.92, 0.0, 0.09, skip=0.2, refresh_every=1),
                Phase(32768, 3000, 0.0, 0.0, 1.0, 0.0, 0.13, skip=0.1, refresh_every=1),
                Phase(65536, 1600, 0.0, 0.0, 1.0, 0.0, 0.1, skip=0.0, refresh_every=1),
                Phase(131072, 800, 0.0, 0.0, 1.0, 0.0, 0.1, 131072, skip=0.0, refresh_every=1),
            ), peak=0.55, flat=0.3),
            # Keys that the filler is full of, more single facts from 16K on; at a low rate, mostly in long contexts. Not
            # in the file (the card).
            Run((
                Phase(1024, 24000, 0.17, 0.0, 0.79, 0.04, 0.06, 32768, skip=0.3),
                Phase(2048, 24000, 0.17, 0.0, 0.79, 0.04, 0.14, 32768, skip=0.4),
                Phase(4096, 12000, 0.15, 0.0, 0.81, 0.04, 0.14, skip=0.3),
                Phase(8192, 8000, 0.12, 0.0, 0.88, 0.0, 0.12, skip=0.2, refresh_every=2),
                Phase(16384, 4000, 0.08, 0.0, 0.92, 0.0, 0.14, skip=0.2, refresh_every=1),
                Phase(32768, 3000, 0.0, 0.0, 1.0, 0.0, 0.18, skip=0.1, refresh_every=1),
                Phase(65536, 1600, 0.0, 0.0, 1.0, 0.0, 0.11, skip=0.0, refresh_every=1),
                Phase(131072, 800, 0.0, 0.0, 1.0, 0.0, 0.11, 131072, skip=0.0, refresh_every=1),
            ), peak=0.3, flat=0.2),
        ),
        least_tokens=65536, sparsity_penalty=1.0,
    ),
    "mini": TrainConfig(
        "mini", MINI,
        (Run((Phase(512, 900, 0.5, 0.1, 0.35, 0.05, 0.6, 32768), Phase(2048, 500, 0.5, 0.05, 0.4, 0.05, 0.4, 32768))),),
        adam_lr=0.003, wiki_weight=4.0, sparsity_penalty=0.5,
    ),
    "cpu": TrainConfig(
        "cpu", SMALL,
        (Run((
            Phase(256, 4000, 0.3, 0.2, 0.45, 0.05, 0.4, 8192),
            Phase(512, 3000, 0.3, 0.1, 0.55, 0.05, 0.35, 8192, skip=0.8),
            Phase(2048, 600, 0.25, 0.05, 0.65, 0.05, 0.15, 8192, skip=0.9),
            Phase(8192, 150, 0.2, 0.05, 0.7, 0.05, 0.1, 8192, skip=0.9),
        )),),
        adam_lr=0.003, sparsity_penalty=0.5,
    ),
    # A minute on one core: shows that everything runs.
    "smoke": TrainConfig(
        "smoke", SMOKE,
        (
            Run((Phase(128, 1000, 0.2, 0.2, 0.5, 0.1, 0.6, 1024), Phase(256, 1000, 0.2, 0.1, 0.6, 0.1, 0.4, 1024)),
                end=0.3),
            Run((Phase(256, 1000, 0.2, 0.1, 0.6, 0.1, 1.0, 1024),), peak=0.8),
        ),
        adam_lr=0.003, sparsity_penalty=0.5, warmup_steps=20,
    ),
}
