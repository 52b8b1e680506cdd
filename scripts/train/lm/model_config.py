"""The decoder's sizes, apart from the decoder: the workers that make batches need no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.convert.decoder import DecoderShape


@dataclass(frozen=True)
class ModelConfig:
    """Sizes are multiples of 64, and of 128 where a quantised row runs along them."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    context: int
    rope_base: float
    head_dim: int = 64
    norm_epsilon: float = 1e-5

    def shape(self) -> DecoderShape:
        return DecoderShape("arcee", self.layers, self.width, self.heads, self.kv_heads, self.head_dim, self.hidden,
                            self.vocabulary, self.context, self.rope_base, self.norm_epsilon)
