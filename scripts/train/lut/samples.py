"""Training pairs on the accelerator: random crops in the eight orientations, sampled without leaving the device."""
import sys
import time

import numpy as np
import torch


class Pairs:
    """`low` [levels, n, 2, h, w] u8 (previous frame, frame) and `high` [n, s*h, s*w] u8."""

    def __init__(self, low, high, device):
        self.levels, self.n, _, self.h, self.w = low.shape
        self.scale = high.shape[1] // self.h
        self.low = torch.from_numpy(np.ascontiguousarray(low)).to(device).reshape(-1)
        self.high = torch.from_numpy(np.ascontiguousarray(high)).to(device).reshape(-1)
        self.device = device

    def crops(self, count, size, level=None, predictions=None):
        """Frames [count, size, size], previous frames, targets [count, s*size, s*size], as floats 0..255; with
        `predictions` [levels*n, experts, s*h*s*w], also their crops [count, experts, s*size, s*size]."""
        def draw(n):
            return torch.randint(n, (count, 1, 1), device=self.device)
        image, y0, x0 = draw(self.n), draw(self.h - size + 1), draw(self.w - size + 1)
        if level is None:
            level = draw(self.levels)
        turn, up, left = draw(2), draw(2), draw(2)

        def grid(scale):
            edge = torch.arange(size * scale, device=self.device)
            y, x = edge[None, :, None], edge[None, None, :]
            y, x = torch.where(turn == 1, x, y), torch.where(turn == 1, y, x)
            y, x = torch.where(up == 1, size * scale - 1 - y, y), torch.where(left == 1, size * scale - 1 - x, x)
            return (y0 * scale + y) * (self.w * scale) + x0 * scale + x

        s, area = self.scale, self.h * self.w
        frame = ((level * self.n + image) * 2 + 1) * area + grid(1)
        place = grid(s)
        out = (self.low[frame].float(), self.low[frame - area].float(), self.high[image * area * s * s + place].float())
        if predictions is None:
            return (*out, None)
        experts = predictions.shape[1]
        first = ((level * self.n + image) * experts)[..., None] + torch.arange(experts, device=self.device)[:, None, None]
        return (*out, predictions.reshape(-1)[first * (area * s * s) + place[:, None]].float())


class Clock:
    """A schedule over seconds, so that a run fits the time it is given on any machine."""

    def __init__(self, seconds):
        self.start, self.seconds = time.monotonic(), seconds

    def done(self):
        """Share of the time that has gone by, 0..1."""
        return min(1.0, (time.monotonic() - self.start) / self.seconds)


def cosine(share, high, low):
    return low + (high - low) * 0.5 * (1 + np.cos(np.pi * share))


def replayed(step, device, warm_up=5):
    """`step` captured as a CUDA graph, which takes the launches of hundreds of small kernels out of each iteration."""
    if device.type != "cuda":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warm_up):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        print(f"not captured, launching each kernel: {error}", file=sys.stderr, flush=True)
        return step
    return graph.replay
