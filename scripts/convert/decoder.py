"""What describes a decoder and its tokenizer in a model file, free of any file format's library."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class YarnScaling:
    """YaRN (Peng et al. 2023) from a context of `original_context` tokens to one `factor` times as long."""

    factor: float
    original_context: int


@dataclass(frozen=True)
class LongScaling:
    """LongRoPE (Ding et al. 2024): divisors of each pair's frequency within `original_context` tokens and beyond."""

    original_context: int
    short: tuple[float, ...]
    long: tuple[float, ...]


@dataclass(frozen=True)
class LocalAttention:
    """Layers that see the last `tokens` tokens only, and rotate by a base of their own: all but each `pattern`-th."""

    tokens: int
    pattern: int = 6
    rope_base: float = 10000.0


@dataclass(frozen=True)
class Scales:
    """Factors of embeddings as input, of what attention and feed-forward add and of dots of queries and keys, and what
    logits are divided by."""

    embedding: float
    residual: float
    attention: float
    logits: float


@dataclass(frozen=True)
class DecoderShape:
    """The hyper-parameters that a GGUF header carries."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    context: int
    rope_base: float
    norm_epsilon: float
    yarn: YarnScaling | None = None
    longrope: LongScaling | None = None
    #: Leading dimensions of a head that are rotated; all by default.
    rope_dimensions: int | None = None
    #: Only in `gemma3`.
    local: LocalAttention | None = None
    #: Positions are divided by this, except in local layers; 1 for none.
    rope_linear: float = 1.0
    #: Only in `granite`.
    scales: Scales | None = None


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary as GGUF stores it (`tokenizer.ggml.model` = gpt2)."""

    tokens: list[str]
    merges: list[str]
    special: set[int]
    eos: int
    bos: int
    end_of_turn: int
    chat_template: str | None = None
    unused: set[int] = field(default_factory=set)
