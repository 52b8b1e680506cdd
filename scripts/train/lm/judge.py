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
            return _attend(q, k, v, True)

        row = torch.tensor([ids], device=self.device)
        self.model(row, torch.arange(len(ids), device=self.device), torch.bfloat16, attention=attention)
        return cache

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], cache: Cache, most: int) -> list[list[int]]:
        """Greedy continuations of several prompts that all follow the cached context. They run side by side in one
        pass a token; an owner number on every token keeps each from seeing the others."""
        past = cache.keys[0].shape[0]
        owners = torch.full((past,), -1, device=self.device)
        places = torch.arange(past, device=self.device)
        keys, values = list(cache.keys), list(cache.values)
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=self.device)
        owner = torch.repeat_interleave(torch.arange(len(prompts)), torch.tensor([len(p) for p in prompts])).to(self.device)
        place = torch.cat([torch.arange(past, past + len(prompt)) for prompt in prompts]).to(self.device)
        last = torch.tensor(np.cumsum([len(prompt) for prompt in prompts]) - 1, device=self.device)
        written: list[Tensor] = []
        for _ in range(most):
            owners, places = torch.cat((owners, owner)), torch.cat((places, place))
            mask = ((owners == -1) | (owners == owner[:, None])) & (places <= place[:, None])

            def attention(q: Tensor, k: Tensor, v: Tensor, length: int, layer: int) -> Tensor:
                keys[layer], values[layer] = torch.cat((keys[layer], k)), torch.cat((values[layer], v))
                return _attend(q, keys[layer], values[layer], False, mask)

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


def _attend(q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None = None) -> Tensor:
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    if mask is not None:
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=mask is None)
    return mixed[0].transpose(0, 1).reshape(q.shape[2], -1)
