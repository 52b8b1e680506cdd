"""Scores a checkpoint in PyTorch: task accuracy by context length, bits per byte, activation sparsity.

Answers are decoded greedily and score the share of their values that were written. Contexts, words, numbers and filler
(a held-out book) are unseen; wordings are those of training unless `--held-out-wording`.

    python -m scripts.train.lm.evaluate --weights DIR --data DIR --tokenizer FILE --json FILE
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.corpus import HELD_OUT_BOOK, read_text, training_texts, watch_text
from scripts.train.lm.dialogue import Dialogue, Filler, add_context
from scripts.train.lm.export import load_weights
from scripts.train.lm.lexicon import Lexicon, corpus_words
from scripts.train.lm.model import Decoder
from scripts.train.lm.tasks import FAMILIES
from scripts.train.lm.tokenizer import FastEncoder

#: Facts hidden in a context of each family; key-value stores and word lists fill the context instead.
FACTS = {"single_needle": 1, "passkey": 1, "multi_key": 32, "multi_value": 24, "multi_query": 16,
         "variable_tracking": 20, "qa": 24, "recall": 32}


@dataclass
class Cache:
    """Keys and values of a context, one `[length, kv_heads, head_dim]` pair per layer."""

    keys: list[Tensor]
    values: list[Tensor]


class Evaluator:
    def __init__(self, model: Decoder, tokenizer: Tokenizer, data: Path, held_out_wording: bool,
                 show: bool = False) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.device = next(model.parameters()).device
        self.encode = FastEncoder(tokenizer)
        self.words = corpus_words(list(training_texts(data).values()))
        self.held_out_wording, self.show = held_out_wording, show
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

    def accuracy(self, task: str, length: int, contexts: int, questions: int, seed: int) -> tuple[float, int]:
        """Mean share of an answer's values that greedy decoding writes (RULER's measure), and the number of answers."""
        found = asked = 0
        for index in range(contexts):
            rng = Random(seed * 1000 + index)
            lexicon = Lexicon.of(self.words, "held_out", "held_out" if self.held_out_wording else "train")
            facts = FACTS.get(task, 0) or max(4, (length - 300) // (80 if task == "key_value" else 5))
            facts = min(facts, max(1, (length - 300) // (40 if task in FACTS else 5)))
            sample = FAMILIES[task][0](rng, lexicon, facts, questions)
            head = Dialogue(self.encode, 1.0)
            add_context(head, sample, length - 250, self.filler, rng)
            cache = self.prefill(head.ids[:length - 250])
            turns, prompts = sample.turns[:questions], []
            for turn in turns:
                made = Dialogue(self.encode, 1.0)
                made.add(self.encode(turn.question))
                made.close()
                made.open("assistant")
                prompts.append(made.ids)
            most = max(len(self.encode(turn.answer)) for turn in turns) + 8
            for turn, ids in zip(turns, self.generate(prompts, cache, most)):
                text = self.tokenizer.decode(ids)
                hits = [bool(re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text)) for value in turn.values]
                found += sum(hits) / len(hits)
                asked += 1
                if self.show and not all(hits):
                    print(f"{task} {length}: {turn.question!r} wanted {turn.answer!r} got {text!r}", flush=True)
        return found / max(1, asked), asked

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


def evaluate(model: Decoder, tokenizer: Tokenizer, data: Path, lengths: list[int], tasks: list[str], contexts: int,
             seconds: float, held_out_wording: bool = False, texts: bool = True) -> dict[str, float]:
    """All scores, shortest lengths first, until `seconds` have passed."""
    began = time.monotonic()
    judge = Evaluator(model, tokenizer, data, held_out_wording)
    scores: dict[str, float] = {}
    if texts:
        wiki = read_text(data, "wikitext2_test.txt")
        scores["watched_wiki/bits_per_byte"] = judge.bits_per_byte(watch_text(data))
        scores["wikitext2_test/bits_per_byte"] = judge.bits_per_byte(wiki)
        scores["held_out_book/bits_per_byte"] = judge.bits_per_byte(read_text(data, HELD_OUT_BOOK), most=120_000)
        for layer, share in enumerate(judge.sparsity(wiki)):
            scores[f"ffn_L{layer}/activation_sparsity"] = share
        print({name: round(value, 3) for name, value in scores.items()}, flush=True)
    for length in lengths:
        line = []
        for task in tasks:
            if time.monotonic() - began > seconds:
                break
            single = task in ("single_needle", "passkey", "common_words", "frequent_words")
            count = contexts if not single else contexts * 4
            count = max(2, round(count / max(1, length / 16384)))
            score, asked = judge.accuracy(task, length, count, 1 if single else 8, 77)
            scores[f"{task}_{length // 1024}k/accuracy"] = score
            line.append(f"{task} {score:.2f}/{asked}")
        print(f"{length // 1024}k ({time.monotonic() - began:.0f}s): " + ", ".join(line), flush=True)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--lengths", default="1024,4096,16384")
    parser.add_argument("--tasks", default=",".join(task for task in FAMILIES if task != "recall"))
    parser.add_argument("--contexts", type=int, default=8, help="contexts at 16K; more below, fewer above")
    parser.add_argument("--no-text", action="store_true", help="skip bits per byte and sparsity")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--held-out-wording", action="store_true")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    model, step = load_weights(a.weights)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    scores = evaluate(model, Tokenizer.from_file(str(a.tokenizer)), a.data, [int(x) for x in a.lengths.split(",")],
                      a.tasks.split(","), a.contexts, a.seconds, a.held_out_wording, not a.no_text)
    if a.json:
        a.json.write_text(json.dumps({"step": step, "scores": scores}, indent=1) + "\n")


if __name__ == "__main__":
    main()
