"""Keys and values of several contexts and of the questions asked about each, for decoding side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from scripts.train.lm.model_config import ModelConfig


class Answering:
    """Keys and values in f32: of the contexts `[contexts, kv_heads, tokens, head_dim]`, and of what follows each of their
    prompts `[contexts, prompts, kv_heads, room, head_dim]`. `lengths` are the contexts' in tokens."""

    def __init__(self, config: ModelConfig, lengths: list[int], room: int, device: torch.device) -> None:
        self._config, self._room, self._device = config, room, device
        self._lengths = torch.tensor(lengths, device=device)
        shape = (len(lengths), config.kv_heads, max(lengths), config.head_dim)
        self._old = [(torch.zeros(shape, device=device), torch.zeros(shape, device=device)) for _ in range(config.layers)]
        past = torch.arange(max(lengths), device=device)
        #: Added to scores: hides what lies behind the end of a shorter context.
        self._past = torch.zeros(len(lengths), max(lengths), device=device).masked_fill_(
            past >= self._lengths[:, None], float("-inf"))
        self.done = 0

    def keep(self, context: int, layer: int, k: Tensor, v: Tensor) -> None:
        """Stores a context's keys and values, `[tokens, kv_heads, head_dim]`."""
        for kept, new in zip(self._old[layer], (k, v)):
            kept[context, :, :len(new)] = new.transpose(0, 1)

    def begin(self, lacking: Tensor) -> None:
        """Makes room for the prompts; `lacking` `[contexts, prompts]` is how many tokens each begins too late."""
        self._lacking = lacking
        shape = (*lacking.shape, self._config.kv_heads, self._room, self._config.head_dim)
        self._new = [(torch.zeros(shape, device=self._device), torch.zeros(shape, device=self._device))
                     for _ in range(self._config.layers)]
        self.done = 0

    def places(self, count: int) -> Tensor:
        """Positions of the next `count` tokens of every prompt, in one row."""
        at = self._lengths[:, None, None] - self._lacking[:, :, None] + self.done + torch.arange(count, device=self._device)
        return at.clamp(min=0).reshape(-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, _length: int, layer: int) -> Tensor:
        """Attention of the next tokens of every prompt to its context and to what stands before them in the prompt.
        `q`: `[contexts * prompts * tokens, heads, head_dim]`."""
        contexts, prompts = self._lacking.shape
        kv_heads, size = self._config.kv_heads, self._config.head_dim
        group, count = self._config.heads // kv_heads, q.shape[0] // (contexts * prompts)
        begin, end = self.done, self.done + count
        for kept, new in zip(self._new[layer], (k, v)):
            kept[:, :, :, begin:end] = new.view(contexts, prompts, count, kv_heads, size).transpose(2, 3)
        (old_keys, old_values), (keys, values) = self._old[layer], (each[:, :, :, :end] for each in self._new[layer])
        # [contexts, kv_heads, prompts, group, tokens, head_dim]
        asked = (q.float() * size**-0.5).view(contexts, prompts, count, kv_heads, group, size).permute(0, 3, 1, 4, 2, 5)
        flat = asked.reshape(contexts, kv_heads, -1, size)
        before = flat @ old_keys.transpose(2, 3) + self._past[:, None, None]
        own = asked.transpose(1, 2).reshape(contexts, prompts, kv_heads, group * count, size)
        at = torch.arange(end, device=self._device)
        late = at > torch.arange(begin, end, device=self._device)[:, None]
        # A padding token sees itself, lest its softmax be of nothing; nobody else sees it.
        early = (at < self._lacking[:, :, None, None]) & (at != torch.arange(begin, end, device=self._device)[:, None])
        fresh = (own @ keys.transpose(3, 4)).view(contexts, prompts, kv_heads, group, count, end)
        fresh = fresh.masked_fill((late | early)[:, :, None, None], float("-inf"))
        fresh = fresh.transpose(1, 2).reshape(contexts, kv_heads, -1, end)
        shares = torch.cat((before, fresh), dim=3).softmax(-1)
        past = old_keys.shape[2]
        mixed = (shares[..., :past] @ old_values).view(contexts, kv_heads, prompts, group, count, size)
        later = shares[..., past:].reshape(contexts, kv_heads, prompts, group * count, end).transpose(1, 2) @ values
        mixed = mixed + later.view(contexts, prompts, kv_heads, group, count, size).transpose(1, 2)
        return mixed.permute(0, 2, 4, 1, 3, 5).reshape(q.shape[0], -1).to(q.dtype)
