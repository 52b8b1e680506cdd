"""The decoder: llama-like, feed-forward without a gate and with squared ReLU (llama.cpp's `arcee`), grouped-query
attention, rotary positions, tied embeddings. Parameter names are those of Hugging Face's ArceeForCausalLM."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.train.lm.model_config import ModelConfig


def rms_norm(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return (scaled * gain).to(x.dtype)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiplies in the activations' type; the master weight stays f32."""
    return F.linear(x, weight.to(x.dtype))


def rotary_table(positions: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine `[tokens, 1, head_dim / 2]` in f32 of every position's angle for every frequency."""
    pairs = torch.arange(config.head_dim // 2, device=positions.device, dtype=torch.float32)
    frequencies = config.rope_base ** (-2 * pairs / config.head_dim)
    angles = positions.float().reshape(-1, 1, 1) * frequencies
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates dimension i against i + head_dim/2. `x`: `[tokens, heads, head_dim]`."""
    low, high = x.float().chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(x.dtype)


def before_attention(x: Tensor, gain: Tensor, q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor,
                     config: ModelConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values, `[tokens, heads, head_dim]`. This and `after_attention` see only
    `[tokens, width]`, so one compiled graph of each serves every layer and every sequence length."""
    h = rms_norm(x, gain, config.norm_epsilon)
    tokens, dim = x.shape[0], config.head_dim
    queries = rotate(linear(h, q).view(tokens, config.heads, dim), cos, sin)
    keys = rotate(linear(h, k).view(tokens, config.kv_heads, dim), cos, sin)
    return queries, keys, linear(h, v).view(tokens, config.kv_heads, dim)


def after_attention(x: Tensor, mixed: Tensor, o: Tensor, gain: Tensor, up: Tensor, down: Tensor, epsilon: float,
                    dropout: float, most_live: float) -> tuple[Tensor, Tensor]:
    """The block's output; then the share of hidden neurons that fire, and how far on average a token's softened share
    lies above `most_live`. Softened: a sigmoid whose width is a tenth of the token's root mean square, so that scale
    does not matter and neurons just below zero are pushed further down."""
    x = x + F.dropout(linear(mixed, o), dropout)
    before = linear(rms_norm(x, gain, epsilon), up)
    wide = before.float()
    scale = 10 * torch.rsqrt(wide.detach().square().mean(-1, keepdim=True) + 1e-12)
    excess = (torch.sigmoid(wide * scale).mean(-1) - most_live).clamp(min=0).mean()
    firing = (wide.detach() > 0).float().mean()
    x = x + F.dropout(linear(F.relu(before).square(), down), dropout)
    return x, torch.stack((firing, excess))


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.q_proj = nn.Linear(config.width, config.heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.width, config.kv_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.width, bias=False)


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Layer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width)
        self.mlp = FeedForward(config)


AttentionFunction = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def causal_attention(q: Tensor, k: Tensor, v: Tensor, length: int, _layer: int) -> Tensor:
    """Dense causal attention of `tokens / length` independent sequences. Inputs `[tokens, heads, head_dim]`."""
    q, k, v = (t.view(-1, length, *t.shape[1:]).transpose(1, 2) for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return mixed.transpose(1, 2).reshape(q.shape[0] * length, -1)


class Decoder(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self._before, self._after = before_attention, after_attention
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Projections onto the residual stream start at zero, so that every block starts as the identity."""
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        for layer in self.layers:
            for module in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, layer.mlp.up_proj):
                nn.init.normal_(module.weight, std=self.config.width**-0.5)
            nn.init.zeros_(layer.self_attn.o_proj.weight)
            nn.init.zeros_(layer.mlp.down_proj.weight)

    def compile(self) -> None:
        """Compiles the parts between attentions."""
        self._before = torch.compile(before_attention, dynamic=False)
        self._after = torch.compile(after_attention, dynamic=False)

    def forward(self, ids: Tensor, positions: Tensor, dtype: torch.dtype, dropout: float = 0.0,
                attention: AttentionFunction = causal_attention, most_live: float = 1.0) -> tuple[Tensor, Tensor]:
        """Final normalised states `[tokens, width]` of `ids` `[sequences, length]`, and of every layer what
        `after_attention` says of its neurons, `[layers, 2]`. `attention` maps rotated q, k, v, the length and the layer's index to `[tokens, heads * head_dim]`."""
        config = self.config
        x = self.embed_tokens(ids.reshape(-1)).to(dtype)
        cos, sin = rotary_table(positions, config)
        activity = []
        for index, layer in enumerate(self.layers):
            mix, feed = layer.self_attn, layer.mlp
            q, k, v = self._before(x, layer.input_layernorm.weight, mix.q_proj.weight, mix.k_proj.weight,
                                   mix.v_proj.weight, cos, sin, config)
            x, live = self._after(x, attention(q, k, v, ids.shape[1], index), mix.o_proj.weight,
                                  layer.post_attention_layernorm.weight, feed.up_proj.weight, feed.down_proj.weight,
                                  config.norm_epsilon, dropout, most_live)
            activity.append(live)
        return rms_norm(x, self.norm.weight, config.norm_epsilon), torch.stack(activity)

    def state(self) -> dict[str, Tensor]:
        """The state dict under Hugging Face names."""
        return {f"model.{name}": value for name, value in self.state_dict().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.load_state_dict({name.removeprefix("model."): value.float() for name, value in state.items()})


def token_losses(states: Tensor, embedding: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats of every target under the tied output layer. `states`: `[tokens, width]`."""
    return F.cross_entropy(F.linear(states, embedding.to(states.dtype)).float(), targets, reduction="none")
