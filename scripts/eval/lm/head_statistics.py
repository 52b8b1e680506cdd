"""What `head_statistics.ts` says of each query head, for texts too long for it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Most queries looked at per head; they are spread evenly over the text's second half.
MOST_QUERIES = 256


class HeadStatistics(NamedTuple):
    """`gap`: mean Mahalanobis distance of the queries from the keys' distribution, over that of the keys themselves
    (RetrievalAttention, Liu et al. 2024, section 3.2). `top_mass`: attention held by the strongest tenth of the keys."""

    gap: float
    top_mass: float


def head_statistics(queries: Tensor, keys: Tensor) -> list[HeadStatistics]:
    """One entry for each head of `queries` `[tokens, heads, head_dim]`; `keys` is `[tokens, kv_heads, head_dim]`. Both
    after rotary positions."""
    tokens, heads, dim = queries.shape
    shared = heads // keys.shape[1]
    rows = torch.arange(tokens // 2, tokens, max(1, tokens // 2 // MOST_QUERIES), device=queries.device)
    later = torch.arange(tokens, device=queries.device) > rows[:, None]
    counts = torch.ceil((rows + 1) / 10).long()
    found = []
    for head in range(heads):
        q, k = queries[rows, head].float(), keys[:, head // shared].float()
        centre = k.double().mean(0)
        spread = k.double() - centre
        covariance = spread.T @ spread / tokens
        # As in head_statistics.ts: slow rotary pairs hardly vary within a short text.
        covariance += torch.eye(dim, device=k.device) * covariance.diagonal().mean() / 1000
        factor = torch.linalg.cholesky(covariance)

        def distance(x: Tensor) -> float:
            solved = torch.linalg.solve_triangular(factor, (x.double() - centre).T, upper=False)  # noqa: B023
            return solved.square().sum(0).sqrt().mean().item()

        weights = (q @ k.T * dim**-0.5).masked_fill(later, -torch.inf).softmax(-1).sort(-1, descending=True).values
        masses = weights.cumsum(-1).gather(1, counts[:, None] - 1)
        found.append(HeadStatistics(distance(q) / distance(k), masses.mean().item()))
    return found
