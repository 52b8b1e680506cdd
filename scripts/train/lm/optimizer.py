"""Muon (Jordan et al. 2024) for the matrices inside the blocks, AdamW for the embedding and the gains."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonalize(batch: Tensor, steps: int = 5) -> Tensor:
    """Quintic Newton-Schulz iteration towards the nearest semi-orthogonal matrix. `batch`: `[n, rows, columns]`."""
    x = batch.bfloat16() if batch.is_cuda else batch.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Matrices of equal shape are orthogonalised as one batch. `lr` is the root-mean-square step of a square matrix
    times the square root of its width."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                velocities = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if not state:
                        state["velocity"] = torch.zeros_like(parameter)
                    velocities.append(state["velocity"])
                gradients = [parameter.grad for parameter in parameters]
                torch._foreach_lerp_(velocities, gradients, 1 - group["momentum"])
                blended = torch._foreach_lerp(gradients, velocities, group["momentum"])
                updates = orthogonalize(torch.stack(blended)).to(parameters[0].dtype)
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                scale = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                torch._foreach_add_(parameters, list(updates.unbind()), alpha=-scale)


def make_optimizers(model: nn.Module, muon_lr: float, adam_lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """The two optimisers; each group remembers its peak rate as `peak`."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name]
    rest = [weight for name, weight in named if weight.ndim != 2 or "embed" in name]
    optimizers = [
        Muon(matrices, muon_lr, 0.95, weight_decay),
        torch.optim.AdamW(rest, adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=rest[0].is_cuda),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers
