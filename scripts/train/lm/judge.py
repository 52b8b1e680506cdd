"""Answers questions greedily in PyTorch and scores the answers; bits per byte; activation sparsity."""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.answering import Answering
from scripts.train.lm.corpus import HELD_OUT_BOOK, read_text
from scripts.train.lm.dialogue import Dialogue, Filler, add_context
from scripts.train.lm.lexicon import Lexicon, Split
from scripts.train.lm.model import Decoder
from scripts.train.lm.sample import Turn
from scripts.train.lm.tasks import FAMILIES
from scripts.train.lm.tokenizer import FastEncoder

#: Facts hidden in a context of each family; the others fill the context, an entry taking about so many tokens.
FACTS = {"single_needle": 1, "passkey": 1, "multi_key": 32, "multi_value": 24, "multi_query": 16,
         "variable_tracking": 20, "qa": 24, "recall": 32, "everyday": 8}
ENTRY = {"key_value": 80, "common_words": 8, "frequent_words": 3}
#: Tokens of the prompts that are read in one pass.
_CHUNK = 8
#: Tokens of a context that are left to the question and the answer.
_TAIL = 250


def fact_count(task: str, length: int) -> int:
    """Statements of a context of `length` tokens, the same as in the engine's evaluation."""
    if task in ENTRY:
        return max(4, (length - 300) // ENTRY[task])
    return min(FACTS[task], max(1, (length - 300) // 40))


class Evaluator:
    """`words` are those of the corpus; contexts, words, numbers and filler (a held-out book) are unseen."""

    def __init__(self, model: Decoder, tokenizer: Tokenizer, data: Path, words: list[str], show: bool = False) -> None:
        self.model, self.tokenizer, self.show = model, tokenizer, show
        self.device = next(model.parameters()).device
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.lexicons = {wording: Lexicon.of(words, "held_out", wording) for wording in ("train", "held_out")}
        self.encode = FastEncoder(tokenizer)
        ends = {index for index in range(tokenizer.get_vocab_size())
                if tokenizer.decode([index]).rstrip('"').endswith((".", "!", "?"))}
        self.filler = Filler(self.encode.corpus(read_text(data, HELD_OUT_BOOK)), ends)

    @torch.no_grad()
    def prefill(self, contexts: list[list[int]], most: int) -> Answering:
        """Reads several contexts, one after the other; `most` new tokens fit behind each question."""
        state = Answering(self.model.config, [len(ids) for ids in contexts], most, self.device)
        for index, ids in enumerate(contexts):
            def attention(q: Tensor, k: Tensor, v: Tensor, length: int, layer: int) -> Tensor:
                state.keep(index, layer, k, v)
                return _attend(q, k, v)

            self.model(torch.tensor([ids], device=self.device), torch.arange(len(ids), device=self.device), self.dtype,
                       attention=attention)
        return state

    @torch.no_grad()
    def generate(self, contexts: list[list[int]], prompts: list[list[list[int]]], most: int) -> list[list[list[int]]]:
        """Greedy continuations of the prompts after each context, `most` tokens long at most. All run side by side in
        one pass a token. Contexts with fewer prompts than others are filled up with copies."""
        widest = max(map(len, prompts))
        rows = [each + each[:1] * (widest - len(each)) for each in prompts]
        longest = max(len(prompt) for each in rows for prompt in each)
        state = self.prefill(contexts, longest + most)
        # Prompts end together: what stands before a shorter one is hidden.
        padded = torch.tensor([[[0] * (longest - len(prompt)) + prompt for prompt in each] for each in rows],
                              device=self.device)
        lacking = torch.tensor([[longest - len(prompt) for prompt in each] for each in rows], device=self.device)
        state.begin(lacking)
        states = None
        for start in range(0, longest, _CHUNK):
            states = self._advance(state, padded[:, :, start:start + _CHUNK])
        written: list[Tensor] = []
        while True:
            ids = F.linear(states, self.model.embed_tokens.weight.to(states.dtype)).argmax(-1)
            written.append(ids)
            if len(written) == most or len(written) % 8 == 0 and (
                    torch.stack(written) == self.encode.turn_end).any(0).all():
                break
            states = self._advance(state, ids[:, :, None])
        texts = torch.stack(written, dim=2).tolist()
        end = self.encode.turn_end
        return [[row[:row.index(end)] if end in row else row for row in text[:len(each)]]
                for text, each in zip(texts, prompts)]

    def _advance(self, state: Answering, ids: Tensor) -> Tensor:
        """Reads the next tokens `[contexts, prompts, tokens]` of every prompt; the last one's states."""
        states, _ = self.model(ids.reshape(1, -1), state.places(ids.shape[2]), self.dtype, attention=state.attend)
        state.done += ids.shape[2]
        return states.view(*ids.shape, -1)[:, :, -1]

    def scores(self, task: str, length: int, wording: Split, questions: int, seeds: list[str]) -> list[list[float]]:
        """Asks up to `questions` questions about a context of `length` tokens for each seed: for each question the share
        of the answer's values that greedy decoding writes (RULER's measure)."""
        contexts, asked, prompts = [], [], []
        for seed in seeds:
            rng = Random(seed)
            sample = FAMILIES[task][0](rng, self.lexicons[wording], fact_count(task, length), questions)
            head = Dialogue(self.encode, 1.0)
            add_context(head, sample, length - _TAIL, self.filler, rng)
            contexts.append(head.ids[:length - _TAIL])
            asked.append(sample.turns[:questions])
            prompts.append([self._prompt(turn.question) for turn in asked[-1]])
        most = max(len(self.encode(turn.answer)) for turns in asked for turn in turns) + 12
        found = []
        for turns, texts in zip(asked, self.generate(contexts, prompts, most)):
            found.append([self._score(task, length, turn, self.tokenizer.decode(ids)) for turn, ids in zip(turns, texts)])
        return found

    def _prompt(self, question: str) -> list[int]:
        made = Dialogue(self.encode, 1.0)
        made.add(self.encode(question))
        made.close()
        made.open("assistant")
        return made.ids

    def _score(self, task: str, length: int, turn: Turn, text: str) -> float:
        hits = [bool(re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text)) for value in turn.values]
        if self.show and not all(hits):
            print(f"{task} {length}: {turn.question!r} wanted {turn.answer!r} got {text!r}", flush=True)
        return sum(hits) / len(hits)

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
            states, _ = self.model(row[None, :-1], torch.arange(len(row) - 1, device=self.device), self.dtype)
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
        self.model(ids, torch.arange(ids.shape[1], device=self.device), self.dtype)
        self.model._after = after
        return shares


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention within one sequence; `[tokens, heads, head_dim]` each."""
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return mixed[0].transpose(0, 1).reshape(q.shape[2], -1)
