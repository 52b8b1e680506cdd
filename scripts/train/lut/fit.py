"""Least squares for one stage: conjugate gradients over crops of clean stills or of one damage level, from trained tables on.

One stage is linear in its tables, so the tables of least mean square error can be computed. A pull of `hold` pixels towards
the starting point keeps rows that few pixels reach.
"""
import numpy as np
import torch

from tables import PATTERNS, neighbours, simplex, turned_block

# A step is half a grey level for 8 lookups of interval 32. At an eighth, 2 % of the clean expert's entries stood at +-127 and
# Set5 lost 0.1 dB; in the two-stage tables 30 %.
DIVISOR = 64


class System:
    """Interpolation of the middle of crops as a linear map from tables [patterns*rows, s²] to outputs [pixels, s²]."""

    def __init__(self, frames, names, shift, scale, edge):
        self.scale, self.size = scale, len(names) * ((256 >> shift) + 1) ** 4
        self.place, self.weight = [], []
        for r in range(4):
            found = [simplex(neighbours(frames, PATTERNS[name], r)[:, edge:-edge, edge:-edge], shift) for name in names]
            rows = [place + j * (self.size // len(names)) for j, (place, _) in enumerate(found)]
            self.place.append(torch.cat(rows, -1).reshape(-1, 5 * len(names)).int())
            self.weight.append(torch.cat([w for _, w in found], -1).reshape(-1, 5 * len(names)).half())

    def turn(self, y, r):
        return turned_block(y.unflatten(1, (self.scale, self.scale)), r, (1, 2)).flatten(1)

    def apply(self, x, part=1 << 18):
        out = 0
        for r, (place, weight) in enumerate(zip(self.place, self.weight)):
            rows = [(x[p.long()] * w.float()[..., None]).sum(1) for p, w in zip(place.split(part), weight.split(part))]
            out = out + self.turn(torch.cat(rows), r)
        return out

    def adjoint(self, y, part=1 << 18):
        out = torch.zeros(self.size, y.shape[1], device=y.device)
        for r, (place, weight) in enumerate(zip(self.place, self.weight)):
            turned = self.turn(y, -r)
            for p, w, v in zip(place.split(part), weight.split(part), turned.split(part)):
                for k in range(p.shape[1]):
                    out.index_add_(0, p[:, k].long(), v * w[:, k : k + 1].float())
        return out


def solve(system, target, start, hold, iterations, log=print):
    """min |A x - target|² + hold |x - start|² by conjugate gradients; x [patterns*rows, outputs]."""
    x = start.clone()
    residual = target - system.apply(x)
    g = system.adjoint(residual)
    p, gg = g.clone(), (g.double() ** 2).sum()
    for i in range(iterations):
        ap = system.apply(p)
        alpha = (gg / ((ap.double() ** 2).sum() + hold * (p.double() ** 2).sum())).float()
        x += alpha * p
        residual -= alpha * ap
        g = system.adjoint(residual) - hold * (x - start)
        new = (g.double() ** 2).sum()
        beta, gg = (new / gg).float(), new
        p = g + beta * p
        if i % 10 == 9:
            log(f"least squares, iteration {i + 1}: mean square {(residual.double() ** 2).mean().item():.1f} of table steps")
    return x


@torch.no_grad()
def fit(batch, tables, names, shift, scale, before, divisor=DIVISOR, batches=400, iterations=60, hold=1.0, edge=2, log=print):
    """{name: [rows, s²] int8} refitted on `batches` of `batch()` = (frames, targets); `before` is the divisor of `tables`."""
    frames, targets = (torch.cat(x) for x in zip(*(batch() for _ in range(batches))))
    system = System(frames, names, shift, scale, edge)
    n, h, w = frames.shape
    blocks = targets.reshape(n, h, scale, w, scale).permute(0, 1, 3, 2, 4)[:, edge:-edge, edge:-edge]
    target = ((blocks - frames[:, edge:-edge, edge:-edge, None, None]) * divisor).reshape(-1, scale * scale)
    start = torch.from_numpy(np.concatenate([tables[n] for n in names])).to(frames.device).float() * (divisor / before)
    x = solve(system, target, start, hold * (1 << shift) ** 2, iterations, log)
    parts = x.round().clamp(-127, 127).to(torch.int8).cpu().numpy()
    return dict(zip(names, np.split(parts, len(names))))
