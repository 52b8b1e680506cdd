"""Data-parallel training: one process for each device of a host, gradients averaged, one clock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn


class Devices:
    """This process's device and its fellows. `started` is when the program began, by the host's monotonic clock."""

    def __init__(self, rank: int, count: int, started: float) -> None:
        self.rank, self.count, self._started = rank, count, started
        if torch.cuda.is_available():
            torch.cuda.set_device(rank)
        self.device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def connect(self, meeting: str) -> None:
        """Joins the group that meets at a file. Gradients go over NCCL where there are GPUs, the clock over gloo."""
        if self.count > 1:
            backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, init_method=meeting, rank=self.rank, world_size=self.count)

    def seconds(self) -> float:
        """Seconds since the program began, the same in every process."""
        spent = torch.tensor([time.monotonic() - self._started], dtype=torch.float64)
        if self.count > 1:
            dist.broadcast(spent, 0)
        return spent.item()

    def share_weights(self, model: nn.Module) -> None:
        if self.count > 1:
            for value in model.parameters():
                dist.broadcast(value.data, 0)

    def average(self, values: Tensor) -> None:
        """Replaces `values` by their mean over the devices, in place."""
        if self.count > 1:
            dist.all_reduce(values)
            values /= self.count

    def close(self) -> None:
        if self.count > 1:
            self.seconds()
            dist.destroy_process_group()


def on_devices(count: int, work: Callable[..., None], *arguments: object) -> None:
    """Calls `work(rank, count, meeting, *arguments)` in a process for each device, or here for one. A process that fails
    ends the others and raises here."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        if count == 1:
            work(0, 1, meeting, *arguments)
        else:
            mp.spawn(work, args=(count, meeting, *arguments), nprocs=count)


class Gradients:
    """All gradients of a model in one buffer, so that they travel in one piece."""

    def __init__(self, model: nn.Module, most: float) -> None:
        parameters = list(model.parameters())
        self._flat = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
        self._most = most
        self._usual: Tensor | None = None
        start = 0
        for parameter in parameters:
            parameter.grad = self._flat[start:start + parameter.numel()].view_as(parameter)
            start += parameter.numel()

    def settle(self, devices: Devices) -> Tensor:
        """Averages over the devices and tames a spike: a gradient that is not finite counts as none, a long one is cut
        to `most` times the usual length. Returns the length before; nothing waits for the device."""
        devices.average(self._flat)
        length = self._flat.norm()
        finite = torch.isfinite(length)
        self._flat.nan_to_num_(0.0, 0.0, 0.0)
        if self._usual is None:
            self._usual = length.nan_to_num(1.0, 1.0, 1.0)
        limit = self._usual * self._most
        self._flat.mul_(torch.where(finite, (limit / (length + 1e-12)).clamp(max=1.0), torch.zeros_like(length)))
        self._usual = torch.where(finite, torch.lerp(self._usual, torch.minimum(length, limit), 0.03), self._usual)
        return length

    def clear(self) -> None:
        self._flat.zero_()
