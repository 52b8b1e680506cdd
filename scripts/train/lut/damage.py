"""The damage estimate: a linear classifier from histograms of a frame's differences to the level of its compression.

    python damage.py --archive x4.npz --out damage.npz

src/lut/damage.ts computes the same features. On every fifth image, held out: 60 % of frames at their own level, 88 % within one.
"""
import argparse

import numpy as np
import torch

BOUNDS = np.array([0, 1, 2, 4, 7, 12, 20])


def histogram(sizes):
    counts = np.bincount(np.searchsorted(BOUNDS, sizes.ravel(), side="left"), minlength=len(BOUNDS) + 1).astype(float)
    return counts / max(counts.sum(), 1)


def features(luma):
    """Square roots of 10 normalised histograms of 8 bins."""
    y, out = luma.astype(int), []
    for plane in (y, y.T):
        # First and second differences along a row, apart where a 4-pixel block ends: codecs leave seams there.
        first = abs(plane[:, 1:] - plane[:, :-1])
        seam = np.arange(first.shape[1]) & 3 == 3
        out += [histogram(first[:, seam]), histogram(first[:, ~seam])]
        second = abs(2 * plane[:, 1:-1] - plane[:, :-2] - plane[:, 2:])
        x = np.arange(1, plane.shape[1] - 1) & 3
        seam = (x == 0) | (x == 3)
        out += [histogram(second[:, seam]), histogram(second[:, ~seam])]
    for offset in (0, 2):
        # Ranges of 4x4 blocks on the codec's grid and off it: quantisation flattens the former.
        h, w = (y.shape[0] - 4) // 4, (y.shape[1] - 4) // 4
        blocks = y[offset : offset + 4 * h, offset : offset + 4 * w].reshape(h, 4, w, 4)
        out.append(histogram(blocks.max((1, 3)) - blocks.min((1, 3))))
    return np.sqrt(np.concatenate(out))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--archive", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    with np.load(options.archive) as data:
        low = data["low"][:, :, 1]
    levels, n = low.shape[:2]
    x = torch.tensor(np.array([[features(f) for f in level] for level in low]), dtype=torch.float32)
    y = torch.arange(levels)[:, None].expand(levels, n)
    seen = torch.arange(n) % 5 != 0
    torch.manual_seed(0)
    net = torch.nn.Linear(x.shape[2], levels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(1500):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[:, seen]).flatten(0, 1), y[:, seen].flatten()).backward()
        optimizer.step()
    guess = net(x[:, ~seen]).argmax(-1)
    print("held out:", (guess == y[:, ~seen]).float().mean().item(), "within one:", ((guess - y[:, ~seen]).abs() <= 1).float().mean().item())
    np.savez(options.out, weight=net.weight.detach().numpy(), bias=net.bias.detach().numpy())


if __name__ == "__main__":
    main()
