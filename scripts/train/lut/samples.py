"""Training pairs, sampled without leaving the device: random crops in the eight orientations."""
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from imaging import cubic


def kernel_of(scale):
    """(weights, margin): the taps of bicubic decimation that are not zero; `margin` of them lie before a pixel's own `scale`."""
    centre = (scale - 1) / 2
    taps = np.arange(int(np.floor(centre - 2 * scale)) + 1, int(np.ceil(centre + 2 * scale)))
    weight = cubic((taps - centre) / scale)
    return weight / weight.sum(), -int(taps[0])


class Sampler:
    """Crops of an `Archive`: low-resolution frames and their predecessors [count, size, size] and targets
    [count, s*size, s*size], floats 0..255."""

    def __init__(self, archive, size, device):
        self.archive, self.size, self.device, self.scale = archive, size, device, archive.scale
        weight, self.before = kernel_of(self.scale)
        self.kernel = torch.tensor(weight, dtype=torch.float32, device=device)
        self.reach = size * self.scale + 2 * self.before
        # Sheets too small for a crop and the room that its predecessor moves in.
        room = self.reach + 2 * MOTION
        self.clean, self.soft = (x[(x[:, 2] > room) & (x[:, 3] > room)] for x in (archive.clean, archive.soft))
        d = archive.damaged
        self.damaged = d[(d[:, 2] >= size) & (d[:, 3] >= size)]
        # Frames of each damage level in fixed shares, however many there are.
        parts = [(self.damaged[self.damaged[:, 6] == level], share) for level, share in enumerate(LEVEL_SHARES)]
        found = torch.Generator().manual_seed(1)
        self.balanced = torch.cat([p[torch.randint(len(p), (int(share * 20000),), generator=found).to(p.device)] for p, share in parts if len(p)])

    def draw(self, limit, count):
        """Whole numbers [count,1,1] below `limit` (a number or a tensor)."""
        drawn = (torch.rand(count, 1, 1, device=self.device) * limit).long()
        # The product may round up to the limit itself.
        return torch.minimum(drawn, limit - 1) if torch.is_tensor(limit) else drawn.clamp_(max=limit - 1)

    def grid(self, turns, length):
        """Rows and columns [count, length, length] of a square in each sample's orientation."""
        turn, up, left = turns
        edge = torch.arange(length, device=self.device)
        y, x = edge[None, :, None], edge[None, None, :]
        y, x = torch.where(turn == 1, x, y), torch.where(turn == 1, y, x)
        return torch.where(up == 1, length - 1 - y, y), torch.where(left == 1, length - 1 - x, x)

    def turns(self, count):
        return self.draw(2, count), self.draw(2, count), self.draw(2, count)

    def decimated(self, high):
        """[n, reach, reach] -> [n, size, size], rounded to bytes' values."""
        k = self.kernel
        x = F.conv2d(high[:, None], k[None, None, :, None], stride=(self.scale, 1))
        return F.conv2d(x, k[None, None, None, :], stride=(1, self.scale))[:, 0].round().clamp(0, 255)

    def undamaged(self, count, soft):
        """Of clean stills, the first `soft` of softened ones; predecessors are the still moved by whole pixels."""
        parts = [x[self.draw(len(x), n).flatten()] for x, n in ((self.soft, soft), (self.clean, count - soft)) if n]
        start, stride, rows, columns = torch.cat(parts).unbind(1)
        start, stride = start[:, None, None], stride[:, None, None]
        turns = self.turns(count)
        room = self.reach + 2 * MOTION
        y0 = MOTION + self.draw((rows - room)[:, None, None], count)
        x0 = MOTION + self.draw((columns - room)[:, None, None], count)
        y, x = self.grid(turns, self.reach)
        place = start + (y0 + y) * stride + x0 + x
        high = self.archive.sheets[place].float()
        moves = (torch.rand(count, 1, 1, device=self.device) < 0.5).long()
        shift = (self.draw(2 * MOTION + 1, count) - MOTION) * stride + self.draw(2 * MOTION + 1, count) - MOTION
        low = self.decimated(torch.cat([high, self.archive.sheets[place + moves * shift].float()]))
        b = self.before
        return low[:count], low[count:], high[:, b : self.reach - b, b : self.reach - b]

    def compressed(self, count, pool=None):
        """Of decoded clips; `pool` [n,8] in place of frames of all levels."""
        pool = self.balanced if pool is None else pool
        entry = pool[self.draw(len(pool), count).flatten()]
        frame, before, w, h, corner, stride = (v[:, None, None] for v in entry.unbind(1)[:6])
        turns, s = self.turns(count), self.scale
        y0, x0 = self.draw(h - self.size + 1, count), self.draw(w - self.size + 1, count)
        y, x = self.grid(turns, self.size)
        place = (y0 + y) * w + x0 + x
        y, x = self.grid(turns, self.size * s)
        target = self.archive.sheets[corner + (y0 * s + y) * stride + x0 * s + x]
        # A quarter of the frames follow a cut.
        cut = torch.rand(count, 1, 1, device=self.device) < 0.25
        frames = self.archive.frames
        return frames[frame + place].float(), frames[torch.where(cut, frame, before) + place].float(), target.float()

    def mixture(self, clean, soft, damaged):
        """One batch of so many of each kind."""
        parts = [self.undamaged(clean + soft, soft)] if clean + soft else []
        parts += [self.compressed(damaged)] if damaged else []
        found = [torch.cat(x) for x in zip(*parts)]
        # Codecs leave grey where they had no bits for more: a net of damaged pictures moved a flat 126 by 7. But where a fifth of the crops had
        # bars, it took blocks' edges for theirs: 0.06 dB at 250 kb/s and 0.13 at 500 were lost on a held-out animation.
        return self.barred(*found, one_in=25, whole=2, black=4) if damaged else self.barred(*found)

    def barred(self, frame, before, target, one_in=10, whole=4, black=2):
        """One crop in `one_in` behind a flat bar, one in `black` of them black, one in `whole` all over, the rest from a side on: pictures
        of the training set have hardly any flat area, films have bars and fades."""
        count = len(frame)
        wide = torch.where(self.draw(whole, count) == 0, self.size, self.draw(self.size, count)) * (self.draw(one_in, count) == 0)
        grey = torch.where(self.draw(black, count) == 0, 16, 16 + self.draw(220, count)).float()
        y, x = self.grid(self.turns(count), self.size)
        bar = (y + 0 * x) < wide
        large = bar.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)
        return torch.where(bar, grey, frame), torch.where(bar, grey, before), torch.where(large, grey, target)


LEVEL_SHARES = (0.06, 0.14, 0.2, 0.22, 0.2, 0.18)
# Pixels of the target's size that a clean predecessor may lie away.
MOTION = 12


class Clock:
    """A schedule over seconds, so that a run fits the time it is given on any machine."""

    def __init__(self, seconds):
        self.start, self.seconds = time.monotonic(), seconds

    def done(self):
        """Share of the time that has gone by, 0..1."""
        return min(1.0, (time.monotonic() - self.start) / max(self.seconds, 1e-3))


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
        torch.cuda.synchronize()
        return step
    return graph.replay


def run(step, rate, rates, clock, device, loss_value, log, label, checkpoint=None):
    """Repeats `step` until the clock is up, with a cosine learning rate; `checkpoint` is called at every fortieth of the time."""
    step = replayed(step, device)
    n, average, logged, kept = 0, 0.0, 0.0, 0.0
    while clock.done() < 1:
        # A short rise first: full steps from random weights can switch off units for good.
        rate.fill_(cosine(clock.done(), *rates) * min(1.0, (n + 1) / 300))
        step()
        n += 1
        if checkpoint and clock.done() - kept >= 1 / 40:
            kept = clock.done()
            checkpoint()
        if n % 50 == 0:
            value = loss_value.item()
            average = value if average == 0 else 0.8 * average + 0.2 * value
            if clock.done() - logged >= 0.1:
                logged = clock.done()
                log(f"{label}: step {n}, {n / (clock.done() * clock.seconds):.0f} a second, loss {average:.3f}")
    log(f"{label}: {n} steps, loss {average:.3f}")
    return n
