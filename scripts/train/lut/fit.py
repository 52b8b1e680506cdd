"""Least squares for one stage: conjugate gradients over whole images, from trained tables on.

    python fit.py one --archive x4.npz --tables x4.experts.npz --out x4.fitted.npz
    python fit.py two --archive x4.npz --tables x4.two_stage.npz --out x4.two_stage.npz   (its second stage)

One stage is linear in its tables, so the tables of least mean square error can be computed. A pull of `--hold` pixels
towards the starting point keeps rows that few pixels reach. Needs numpy, scipy and torch.
"""
import argparse

import numpy as np
import torch
from scipy.sparse import csr_matrix

import experts
import two_stage
from main import report
from tables import PATTERNS, neighbours, simplex, source_order

# A step is half a grey level for 8 lookups of interval 32. At an eighth, 2 % of the clean expert's entries stood at +-127 and
# Set5 lost 0.1 dB; in the two-stage tables 30 %.
DIVISORS = {"one": 64, "two": 128}


def system(frames, names, shift):
    """For each rotation a sparse matrix [pixels, patterns*rows] of interpolation weights."""
    rows = ((256 >> shift) + 1) ** 4
    plane = torch.from_numpy(frames).float()
    out = []
    for r in range(4):
        places, weights = [], []
        for j, name in enumerate(names):
            place, weight = simplex(neighbours(plane, PATTERNS[name], r), shift)
            places.append(place.reshape(-1, 5).numpy().astype(np.int32) + j * rows)
            weights.append(weight.reshape(-1, 5).numpy().astype(np.float32))
        place, weight = np.concatenate(places, 1), np.concatenate(weights, 1)
        n, k = place.shape
        out.append(csr_matrix((weight.reshape(-1), place.reshape(-1), np.arange(0, n * k + 1, k)), (n, len(names) * rows)))
    return out


def solve(matrices, target, start, orders, hold, iterations, divisor):
    """min |A x - target|² + hold |x - start|² by conjugate gradients; x [patterns*rows, outputs]."""
    transposed = [m.T.tocsr() for m in matrices]

    def apply(x):
        return sum((m @ x)[:, order] for m, order in zip(matrices, orders))

    def adjoint(y):
        return sum(m @ np.ascontiguousarray(y[:, np.argsort(order)]) for m, order in zip(transposed, orders))
    x = start.copy()
    residual = target - apply(x)
    g = adjoint(residual)
    p, gg = g.copy(), np.vdot(g, g)
    for i in range(iterations):
        ap = apply(p)
        alpha = gg / (np.vdot(ap, ap) + hold * np.vdot(p, p))
        x += alpha * p
        residual -= alpha * ap
        g = adjoint(residual) - hold * (x - start)
        beta, gg = np.vdot(g, g) / gg, np.vdot(g, g)
        p = g + beta * p
        print(f"iteration {i}: mean square {np.mean(residual**2) / divisor**2:.3f}", flush=True)
    return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stages", choices=["one", "two"])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--tables", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--test")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--levels", type=int, default=6)
    parser.add_argument("--hold", type=float, default=1.0)
    options = parser.parse_args()
    two = options.stages == "two"
    names, divisor = two_stage.NAMES if two else experts.NAMES, DIVISORS[options.stages]
    with np.load(options.archive) as data:
        low, high = data["low"][:, : options.images, 1], data["high"][: options.images]
    with np.load(options.tables) as data:
        arrays = {n: data[n].copy() for n in data.files}
    first = {n: arrays[f"first.{n}"] for n in names} if two else None
    tables = {n: arrays[f"second.{n}"][None] if two else arrays[n] for n in names}
    before = int(arrays.get("divisor", two_stage.DIVISORS[1] if two else experts.DIVISOR))
    s = high.shape[1] // low.shape[2]
    orders = [np.array(source_order(s, r)) for r in range(4)]

    def prepare(frame):
        return experts.upscale_exact(frame, first, names, two_stage.SHIFTS[0], 1, two_stage.DIVISORS[0]) if two else frame
    for level in range(1 if two else options.levels):
        frames = np.stack([prepare(f) for f in low[level]])
        n, h, w = frames.shape
        blocks = high[:, : h * s, : w * s].reshape(n, h, s, w, s).transpose(0, 1, 3, 2, 4).reshape(-1, s * s).astype(np.float32)
        target = (blocks - frames.reshape(-1, 1)) * divisor
        start = np.concatenate([tables[name][level] for name in names]).astype(np.float32) * (divisor / before)
        hold = options.hold * (1 << experts.SHIFT) ** 2
        x = solve(system(frames, names, experts.SHIFT), target, start, orders, hold, options.iterations, divisor)
        for name, part in zip(names, np.split(np.clip(np.round(x), -127, 127).astype(np.int8), len(names))):
            tables[name][level] = part
        if options.test:
            best = {k: t[level] for k, t in tables.items()}
            report(f"x{s} fitted {options.stages} stage(s), level {level}, on clean", options.test, s,
                   lambda f: experts.upscale_exact(prepare(f), best, names, experts.SHIFT, s, divisor))
    out = {f"second.{n}": t[0] for n, t in tables.items()} | {f"first.{n}": t for n, t in first.items()} if two else tables
    np.savez(options.out, divisor=np.int32(divisor), **out)


if __name__ == "__main__":
    main()
