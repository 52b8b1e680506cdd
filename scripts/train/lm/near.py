"""How much of a token's attention goes far: to keys that a device which keeps only a context's beginning and its latest
tokens has not at hand. A price on it makes heads look far only where that pays, and the others cheap to leave out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Keys that count as near: the first of the context and the last before the query. The engine's window.
FIRST, LAST = 128, 512
#: Products of queries and keys of one head that a measurement may take, and the most queries.
_PRODUCTS, _QUERIES = 1 << 20, 512
#: Tokens before an answer that belong to its question.
_QUESTION = 64


def before_none(answers: Tensor) -> Tensor:
    """1 for tokens that neither write an answer nor stand shortly before one: those that ask and answer may look as far
    as they will. `answers`: `[tokens]`, whether a token writes one."""
    ahead = F.pad(answers.float(), (0, _QUESTION)).view(1, 1, -1)
    return 1 - F.max_pool1d(ahead, _QUESTION + 1, stride=1).view(-1)


def far_mass(q: Tensor, k: Tensor, length: int, counted: Tensor) -> Tensor:
    """The mean share of attention that falls on far keys, over random queries of every sequence and all heads.
    `q`: `[tokens, heads, head_dim]`, `k`: `[tokens, kv_heads, head_dim]`, rotated; `counted`: `[tokens]`, 1 for queries
    that count. Sequences without far keys give 0."""
    if length <= FIRST + LAST:
        return q.new_zeros((), dtype=torch.float32)
    rows, kv_heads, dim = q.shape[0] // length, k.shape[1], q.shape[2]
    each = max(1, min(_QUERIES, _PRODUCTS // length) // rows)
    at = torch.randint(FIRST + LAST, length, (rows, each), device=q.device)
    flat = (at + torch.arange(rows, device=q.device)[:, None] * length).view(-1)
    chosen = q[flat].view(rows, each, kv_heads, -1, dim).permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, -1, dim)
    keys = k.view(rows, length, kv_heads, dim).permute(0, 2, 3, 1)
    scores = (chosen @ keys).float() * dim**-0.5
    place = torch.arange(length, device=q.device)
    # [rows, 1, heads of a key head, queries, keys]
    before = at[:, None, None, :, None] - place
    scores = scores.view(rows, kv_heads, -1, each, length).masked_fill(before < 0, -torch.inf)
    far = (place >= FIRST) & (before >= LAST)
    share = (scores.masked_fill(~far, -torch.inf).logsumexp(-1) - scores.logsumexp(-1)).exp()
    weight = counted[flat].view(rows, 1, 1, each).float().expand_as(share)
    return (share * weight).sum() / weight.sum().clamp(min=1)
