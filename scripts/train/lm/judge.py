"""Answers questions greedily in PyTorch and scores the answers; bits per byte; activation sparsity."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.corpus import HELD_OUT_BOOK, read_text
from scripts.train.lm.dialogue import Dialogue, Filler, add_context
from scripts.train.lm.lexicon import Lexicon, Split
from scripts.train.lm.model import Decoder
from scripts.train.lm.tasks import FAMILIES
from scripts.train.lm.tokenizer import FastEncoder

#: Facts hidden in a context of each family; the others fill the context, an entry taking about so many tokens.
FACTS = {"single_needle": 1, "passkey": 1, "multi_key": 32, "multi_value": 24, "multi_query": 16,
         "variable_tracking": 20, "qa": 24, "recall": 32}
ENTRY = {"key_value": 80, "common_words": 8, "frequent_words": 3}
#: Tokens of a context that are left to the question and the answer.
_TAIL = 250


def fact_count(task: str, length: int) -> int:
    """Statements of a context of `length` tokens, the same as in the engine's evaluation."""
    if task in ENTRY:
        return max(4, (length - 300) // ENTRY[task])
    return min(FACTS[task], max(1, (length - 300) // 40))


@dataclass
class Cache:
    """Keys and values of a context, one `[length, kv_heads, head_dim]` pair per layer."""

    keys: list[Tensor]
    values: list[Tensor]


class Evaluator:
    """`words` are those of the corpus; contexts, words, numbers and filler (a held-out book) are unseen."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, data: Path, words: list[str], show: bool = False) -> None:
        self.model, self.tokenizer, self.words, self.show = model, tokenizer, words, show
        self.device = next(model.parameters()).device
        self.encode = FastEncoder(tokenizer)
        ends = {index for index in range(tokenizer.get_vocab_size())
                if tokenizer.decode([index]).rstrip('"').endswith((".", "!", "?"))}
        self.filler = Filler(self.encode.corpus(read_text(data, HELD_OUT_BOOK)), ends)

    @torch.no_grad()
    def prefill(self, ids: list[int]) -> Cache:
        cache = Cache([], [])

        def attention(q: Tensor, k: Tensor, v: Tensor, length: int, layer: int) -> Tensor:
            cache.keys.append(k)
            cache.values.append(v)
            return _attend(q, k, v)

        row = torch.tensor([ids], device=self.device)
        self.model(row, torch.arange(len(ids), device=self.device), torch.bfloat16, attention=attention)
        return cache

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], cache: Cache, most: int) -> list[list[int]]:
        """Greedy continuations of several prompts that all follow the cached context. They run side by side in one
        pass a token; an owner number on every token keeps each from seeing the others."""
        past = cache.keys[0].shape[0]
        # In f32, laid out once: decoding then reads every key and value once a token and no mask as long as the context.
        old = [tuple(t.float().permute(1, 0, 2).contiguous() for t in pair) for pair in zip(cache.keys, cache.values)]
        keys: list[Tensor | None] = [None] * len(old)
        values: list[Tensor | None] = [None] * len(old)
        owners = places = torch.empty(0, dtype=torch.long, device=self.device)
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=self.device)
        owner = torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor([len(p) for p in prompts])).to(self.device)
        place = torch.cat([torch.arange(past, past + len(prompt)) for prompt in prompts]).to(self.device)
        last = torch.tensor(np.cumsum([len(prompt) for prompt in prompts]) - 1, device=self.device)
        written: list[Tensor] = []
        for _ in range(most):
            owners, places = torch.cat((owners, owner)), torch.cat((places, place))
            hidden = (owners != owner[:, None]) | (places > place[:, None])

            def attention(q: Tensor, k: Tensor, v: Tensor, length: int, layer: int) -> Tensor:
                keys[layer] = k if keys[layer] is None else torch.cat((keys[layer], k))
                values[layer] = v if values[layer] is None else torch.cat((values[layer], v))
                return _attend_after(q, *old[layer], keys[layer], values[layer], hidden)

            states, _ = self.model(ids[None], place, torch.bfloat16, attention=attention)
            ids = F.linear(states[last], self.model.embed_tokens.weight.to(states.dtype)).argmax(-1)
            written.append(ids)
            owner, place = torch.arange(len(prompts), device=self.device), place[last] + 1
            last = torch.arange(len(prompts), device=self.device)
            if len(written) % 8 == 0 and (torch.stack(written) == self.encode.turn_end).any(0).all():
                break
        rows = torch.stack(written, dim=1).tolist()
        return [row[:row.index(self.encode.turn_end)] if self.encode.turn_end in row else row for row in rows]

    def scores(self, task: str, length: int, wording: Split, questions: int, seed: str) -> list[float]:
        """Asks up to `questions` questions about one context of `length` tokens: for each the share of the answer's
        values that greedy decoding writes (RULER's measure)."""
        rng = Random(seed)
        lexicon = Lexicon.of(self.words, "held_out", wording)
        sample = FAMILIES[task][0](rng, lexicon, fact_count(task, length), questions)
        head = Dialogue(self.encode, 1.0)
        add_context(head, sample, length - _TAIL, self.filler, rng)
        turns, prompts = sample.turns[:questions], []
        for turn in turns:
            made = Dialogue(self.encode, 1.0)
            made.add(self.encode(turn.question))
            made.close()
            made.open("assistant")
            prompts.append(made.ids)
        most = max(len(self.encode(turn.answer)) for turn in turns) + 12
        found = []
        for turn, ids in zip(turns, self.generate(prompts, self.prefill(head.ids[:length - _TAIL]), most)):
            text = self.tokenizer.decode(ids)
            hits = [bool(re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text)) for value in turn.values]
            found.append(sum(hits) / len(hits))
            if self.show and not all(hits):
                print(f"{task} {length}: {turn.question!r} wanted {turn.answer!r} got {text!r}", flush=True)
        return found

    @torch.no_grad()
    def bits_per_byte(self, text: str, window: int = 4096, stride: int = 2048, most: int | None = None) -> float:
        """Every token after the first `stride` has at least `window - stride` tokens of context."""
        ids = self.encode.corpus(text).astype(np.int64)[:most]
        nats, size = 0.0, len(self.tokenizer.decode(ids.tolist(), skip_special_tokens=False).encode())
        for start in range(0, max(1, len(ids) - 1), stride):
            begin = max(0, start + stride - window)
            row = torch.from_numpy(ids[begin:start + stride + 1]).to(self.device)
            if len(row) < 2:
                break
            states, _ = self.model(row[None, :-1], torch.arange(len(row) - 1, device=self.device), torch.bfloat16)
            fresh = states[start - begin:]
            logits = F.linear(fresh, self.model.embed_tokens.weight.to(fresh.dtype)).float()
            nats += F.cross_entropy(logits, row[start - begin + 1:], reduction="sum").item()
        return nats / math.log(2) / size

    @torch.no_grad()
    def sparsity(self, text: str) -> list[float]:
        """Share of hidden neurons that are exactly zero, per layer, on running text."""
        ids = torch.tensor([self.encode(text)[:4096]], device=self.device)
        shares: list[float] = []
        after = self.model._after

        def watched(x: Tensor, mixed: Tensor, o: Tensor, gain: Tensor, up: Tensor, *rest) -> tuple[Tensor, Tensor]:
            from scripts.train.lm.model import linear, rms_norm
            h = rms_norm(x + linear(mixed, o), gain, rest[1])
            shares.append((linear(h, up) <= 0).float().mean().item())
            return after(x, mixed, o, gain, up, *rest)

        self.model._after = watched
        self.model(ids, torch.arange(ids.shape[1], device=self.device), torch.bfloat16)
        self.model._after = after
        return shares


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention within one sequence; `[tokens, heads, head_dim]` each."""
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return mixed[0].transpose(0, 1).reshape(q.shape[2], -1)


def _attend_after(q: Tensor, old_keys: Tensor, old_values: Tensor, keys: Tensor, values: Tensor,
                  hidden: Tensor) -> Tensor:
    """Attention in f32 of queries `[tokens, heads, head_dim]` to all old keys, `[kv_heads, past, head_dim]`, and to those
    new ones, `[new, kv_heads, head_dim]`, that `hidden` `[tokens, new]` does not hide."""
    tokens, heads, size = q.shape
    kv_heads = old_keys.shape[0]
    group = heads // kv_heads
    asked = q.float().view(tokens, kv_heads, group, size).permute(1, 2, 0, 3).reshape(kv_heads, group * tokens, size)
    asked = asked * size**-0.5
    new_keys, new_values = keys.float().transpose(0, 1), values.float().transpose(0, 1)
    fresh = (asked @ new_keys.transpose(1, 2)).masked_fill(hidden.repeat(group, 1), float("-inf"))
    past = old_keys.shape[1]
    shares = torch.cat((asked @ old_keys.transpose(1, 2), fresh), dim=2).softmax(-1)
    mixed = shares[:, :, :past] @ old_values + shares[:, :, past:] @ new_values
    return mixed.view(kv_heads, group, tokens, size).permute(2, 0, 1, 3).reshape(tokens, -1).to(q.dtype)
