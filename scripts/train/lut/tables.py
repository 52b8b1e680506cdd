"""Tables in torch: 4-simplex interpolation, index patterns, rotations, and the small nets that tables start from.

A table maps four pixels to outputs by samples at multiples of q = 2**shift (256/q + 1 an axis). Interpolation sorts the
four fractions, walks from the cell's low corner to its high corner along the axes in that order, and weighs the five
corners met by the differences of neighbouring fractions. It is linear in the table and, inside one simplex, in the pixels.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import kernels

# Offsets (dy, dx) of the four pixels; s, d and y are MuLUT's, e ("hook") won the one-table search.
PATTERNS = {
    "s": ((0, 0), (0, 1), (1, 0), (1, 1)),
    "d": ((0, 0), (0, 2), (2, 0), (2, 2)),
    "y": ((0, 0), (1, 1), (1, 2), (2, 1)),
    "e": ((0, 0), (0, 1), (0, 2), (1, 0)),
    "t": ((0, 0), (0, -1), (0, 1), (1, 0)),
    "i": ((0, 0), (0, -1), (0, 1), (0, 2)),
}


def phased(pattern, py, px):
    """The pattern in one of the four phases of a frame twice as large."""
    return tuple((2 * y + py, 2 * x + px) for y, x in pattern)


# Four pixels around a place of a frame twice as large (steps of two): "sa" is s in the phase of the upper left pixel, and so on; the rest take
# pixels of several phases.
PATTERNS |= {n + p: phased(PATTERNS[n], *at) for n in "sd" for p, at in zip("abcd", ((0, 0), (0, 1), (1, 0), (1, 1)))}
PATTERNS |= {
    "block": ((0, 0), (0, 1), (1, 0), (1, 1)),
    "corner": ((0, 0), (0, -1), (-1, 0), (-1, -1)),
    "above": ((0, 0), (0, 1), (-1, 0), (-1, 1)),
    "line": ((0, 0), (0, 1), (0, -1), (0, 2)),
    "far": ((0, 0), (-1, -1), (-2, -2), (1, 1)),
    "bent": ((0, 0), (1, 1), (-1, 0), (0, -1)),
    "wide": ((0, 0), (1, 1), (0, 3), (3, 0)),
    "ring": ((-1, -1), (-1, 2), (2, -1), (2, 2)),
}


def rotate(pattern, r, step=1):
    """The pattern as an image turned by r quarter turns (numpy.rot90) sees it, in the frame of the unturned image. Turns are about the middle
    of a place's step x step pixels."""
    e = step - 1
    turn = (lambda y, x: (y, x), lambda y, x: (x, e - y), lambda y, x: (e - y, e - x), lambda y, x: (e - x, y))[r]
    return tuple(turn(y, x) for y, x in pattern)


def source_order(s, r):
    """For each output of an s x s block, the place in the table row that it takes under rotation r."""
    place = (lambda y, x: y * s + x, lambda y, x: (s - 1 - x) * s + y,
             lambda y, x: (s - 1 - y) * s + s - 1 - x, lambda y, x: x * s + s - 1 - y)[r]
    return [place(y, x) for y in range(s) for x in range(s)]


def turned_block(block, r, dims):
    """An s x s block along `dims` under rotation r: `source_order` without an index."""
    return torch.rot90(block, -r, dims)


def neighbours(plane, pattern, r, step=1):
    """plane [B,step*h,step*w] -> [B,h,w,4]; beyond the border the nearest pixel of the same phase."""
    b, h, w = plane.shape[0], plane.shape[1] // step, plane.shape[2] // step
    phases = plane.reshape(b, h, step, w, step).permute(0, 2, 4, 1, 3).reshape(b, step * step, h, w)
    padded = F.pad(phases, (2, 2, 2, 2), mode="replicate")

    def at(y, x):
        top, left = 2 + y // step, 2 + x // step
        return padded[:, y % step * step + x % step, top : top + h, left : left + w]
    return torch.stack([at(y, x) for y, x in rotate(pattern, r, step)], -1)


def simplex(pixels, shift):
    """pixels [...,4], whole numbers in 0..255 -> row numbers [...,5] and weights [...,5] that sum to q. Weights carry
    gradients. The sort is a five-comparator network on `4 * fraction + (3 - axis)`: ties keep the axis order."""
    q, length = 1 << shift, (256 >> shift) + 1
    cell = torch.div(pixels.detach(), q, rounding_mode="floor").clamp(0, length - 2)
    fraction = pixels - cell * q
    keys = [4 * fraction[..., i] + (3 - i) for i in range(4)]
    for i, j in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        keys[i], keys[j] = torch.maximum(keys[i], keys[j]), torch.minimum(keys[i], keys[j])
    key = torch.stack(keys, -1)
    code = torch.remainder(key.detach(), 4)
    fraction = (key - code) / 4
    # Rounded: a power on a GPU may come out just below.
    step = torch.pow(float(length), code).round().long()
    base = ((cell[..., 0] * length + cell[..., 1]) * length + cell[..., 2]) * length + cell[..., 3]
    base = base.long()[..., None]
    rows = torch.cat([base, base + step.cumsum(-1)], -1)
    zero = torch.zeros_like(fraction[..., :1])
    weights = torch.cat([zero + q, fraction], -1) - torch.cat([fraction, zero], -1)
    return rows, weights


def look_up(pixels, table, shift):
    """pixels [...,4], table [rows, n] -> [...,n], scaled by q."""
    rows, weights = simplex(pixels, shift)
    values = table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, table.shape[1])
    return (values * weights[..., None]).sum(-2)


def straight_round(x):
    return x + (torch.round(x) - x).detach()


class PixelNet(nn.Module):
    """Four pixels to n outputs: the receptive field of a table, so that sampling it loses only what lies between samples.
    `levels` nets of the same shape run side by side."""

    def __init__(self, outputs, levels=1, width=48):
        super().__init__()
        sizes = [4, width, width, width, outputs]
        self.weight = nn.ParameterList([nn.Parameter(torch.randn(levels, a, b) * (2 / a) ** 0.5) for a, b in zip(sizes, sizes[1:])])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(levels, 1, b)) for b in sizes[1:]])
        with torch.no_grad():
            self.weight[-1].mul_(0.1)

    def forward(self, pixels):
        """pixels [levels, n, 4] in 0..255 -> [levels, n, outputs] in table units (-127..127)."""
        x = (pixels - 128) / 128
        for i, (w, b) in enumerate(zip(self.weight, self.bias)):
            x = torch.baddbmm(b, x, w)
            if i + 1 < len(self.weight):
                x = F.gelu(x)
        return 127 * torch.tanh(x)


class Tables(nn.Module):
    """One stage: the pixel plus the sum of lookups over patterns and four rotations, divided by `divisor`. Entries are a
    net's values at the sample points, rounded with straight-through gradients, so that training sees sampling, rounding and
    clamping from the first step; `freeze` makes the entries themselves what trains."""

    def __init__(self, names, shift, outputs, divisor, step=1, width=48):
        super().__init__()
        self.names, self.shift, self.divisor, self.outputs, self.step = names, shift, divisor, outputs, step
        self.nets = PixelNet(outputs, len(names), width)
        axis = (torch.arange((256 >> shift) + 1) << shift).clamp(max=255).float()
        self.register_buffer("grid", torch.cartesian_prod(axis, axis, axis, axis), persistent=False)
        self.entries = None

    def values(self):
        """[patterns * rows, outputs]."""
        entries = self.entries if self.entries is not None else self.nets(self.grid.expand(len(self.names), *self.grid.shape))
        return straight_round(entries.clamp(-127, 127)).flatten(0, 1)

    @torch.no_grad()
    def freeze(self):
        self.entries = nn.Parameter(self.nets(self.grid.expand(len(self.names), *self.grid.shape)))
        self.nets = None

    def load(self, arrays):
        """Goes on from exported entries."""
        entries = torch.from_numpy(np.stack([arrays[n] for n in self.names])).float()
        self.entries, self.nets = nn.Parameter(entries.to(self.grid.device)), None

    @torch.no_grad()
    def export(self):
        """{name: [rows, outputs] int8}."""
        values = self.values().unflatten(0, (len(self.names), -1))
        return {n: t.to(torch.int8).cpu().numpy() for n, t in zip(self.names, values)}

    def forward(self, plane, scale):
        """plane [B, step*h, step*w] in 0..255 -> [B, scale*h, scale*w], not rounded."""
        b, h, w = plane.shape[0], plane.shape[1] // self.step, plane.shape[2] // self.step
        near = scale // self.step
        centre = plane if near == 1 else plane.repeat_interleave(near, 1).repeat_interleave(near, 2)
        if kernels.usable(plane):
            block = kernels.lookups(plane, self.values(), self.names, scale, 1, self.shift, step=self.step).unflatten(-1, (scale, scale))
        else:
            # All patterns and rotations at once: their kernels are many and small.
            rows, weights = simplex(torch.stack([torch.stack([neighbours(plane, PATTERNS[n], r, self.step) for r in range(4)], 0) for n in self.names], 1), self.shift)
            rows = rows + len(self.grid) * torch.arange(len(self.names), device=plane.device)[:, None, None, None, None]
            values = self.values().index_select(0, rows.reshape(-1)).reshape(*rows.shape, self.outputs)
            blocks = (values * weights[..., None]).sum((1, -2)).unflatten(-1, (scale, scale))
            block = sum(turned_block(blocks[r], r, (-2, -1)) for r in range(4))
        return centre + (block / self.divisor).permute(0, 1, 3, 2, 4).reshape(b, h * scale, w * scale)
