"""Least squares for one-stage tables: conjugate gradients over whole images, from the tuned tables on.

    python fit.py --archive x4.npz --tables x4.experts.npz --out x4.fitted.npz [--images 160] [--iterations 16]

One stage is linear in its tables, so the tables of least mean square error can be computed. A pull of `--hold` pixels
towards the starting point keeps rows that few pixels reach. Needs numpy, scipy and torch (for `Pairs` geometry only).
"""
import argparse

import numpy as np
import torch
from scipy.sparse import csr_matrix

import experts
from main import report
from tables import PATTERNS, neighbours, simplex, source_order


def system(frames, shift):
    """For each rotation a sparse matrix [pixels, patterns*rows] of interpolation weights."""
    rows = ((256 >> shift) + 1) ** 4
    plane = torch.from_numpy(frames).float()
    out = []
    for r in range(4):
        places, weights = [], []
        for j, name in enumerate(experts.NAMES):
            place, weight = simplex(neighbours(plane, PATTERNS[name], r), shift)
            places.append(place.reshape(-1, 5).numpy().astype(np.int32) + j * rows)
            weights.append(weight.reshape(-1, 5).numpy().astype(np.float32))
        place, weight = np.concatenate(places, 1), np.concatenate(weights, 1)
        n, k = place.shape
        out.append(csr_matrix((weight.reshape(-1), place.reshape(-1), np.arange(0, n * k + 1, k)), (n, len(experts.NAMES) * rows)))
    return out


def solve(matrices, target, start, orders, hold, iterations):
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
        print(f"iteration {i}: mean square {np.mean(residual**2) / experts.DIVISOR**2:.3f}", flush=True)
    return x


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--archive", required=True)
    parser.add_argument("--tables", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--test")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--levels", type=int, default=6)
    # 300 pixels (times interval²): below 100 rows of few pixels overfit, above 3000 the result is the starting point.
    parser.add_argument("--hold", type=float, default=300 * 32**2 / 16)
    options = parser.parse_args()
    with np.load(options.archive) as data:
        low, high = data["low"][:, : options.images, 1], data["high"][: options.images]
    with np.load(options.tables) as data:
        tables = {n: data[n].copy() for n in experts.NAMES}
    s = high.shape[1] // low.shape[2]
    orders = [np.array(source_order(s, r)) for r in range(4)]
    n, h, w = low.shape[1:]
    blocks = high[:, : h * s, : w * s].reshape(n, h, s, w, s).transpose(0, 1, 3, 2, 4).reshape(-1, s * s).astype(np.float32)
    for level in range(options.levels):
        frames = low[level]
        target = (blocks - frames.reshape(-1, 1)) * experts.DIVISOR
        start = np.concatenate([tables[name][level] for name in experts.NAMES]).astype(np.float32)
        x = solve(system(frames, experts.SHIFT), target, start, orders, options.hold, options.iterations)
        for name, part in zip(experts.NAMES, np.split(np.clip(np.round(x), -127, 127).astype(np.int8), len(experts.NAMES))):
            tables[name][level] = part
        np.savez(options.out, **tables)
        if options.test:
            report(f"x{s} fitted expert {level} on clean", options.test, s, lambda f: experts.upscale_exact(f, {k: t[level] for k, t in tables.items()}, experts.NAMES, experts.SHIFT, s, experts.DIVISOR))


if __name__ == "__main__":
    main()
