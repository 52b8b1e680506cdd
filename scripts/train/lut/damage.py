"""What a frame's damage tells: its level, and which bank of the fusion errs less.

    python damage.py --folder DIR --from SOURCES --out damage.npz

Both are linear in histograms of a frame's differences, which src/lut/damage.ts computes alike. DIR is what `prepare.py` made,
SOURCES are as for `export.py`. The level is a classifier of decoded frames; the bank is a regression of the decibels that the
mixed bank gains over the clean one, on decoded frames, clean stills and softened ones. Every fifth picture is held out.
"""
import argparse

import numpy as np
import torch

import experts
import fusion
from archive import LEVELS, Archive
from export import BANKS, gather
from imaging import decimate, to_bytes
from main import fused

BOUNDS = np.array([0, 1, 2, 4, 7, 12, 20])
SCALE = 4
# Gains beyond this say no more than that it is large.
MOST = 0.5
# Weight of sharp and of softened stills, which are few beside six levels of damage.
WEIGHTS = {-1: 3.0, -2: 2.0}


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


def crop_of(flat, start, stride, rows, columns):
    return flat[start + np.arange(rows)[:, None] * stride + np.arange(columns)]


def decoded_frames(archive, count, rng):
    """(frame, predecessor, target, level, held out) of so many of each level."""
    frames, sheets, s = archive.frames.numpy(), archive.sheets.numpy(), archive.scale
    damaged = archive.damaged.numpy()
    for level in range(len(LEVELS) + 1):
        found = np.flatnonzero(damaged[:, 6] == level)
        for i in rng.permutation(found)[:count]:
            frame, before, w, h, corner, stride, _, clip = damaged[i]
            yield crop_of(frames, frame, w, h, w), crop_of(frames, before, w, h, w), crop_of(sheets, corner, stride, h * s, w * s), level, clip % 5 == 0


def stills(archive, places, count, rng, kind=-1):
    """The same of undamaged sheets; `kind` in the level's place."""
    sheets, s = archive.sheets.numpy(), archive.scale
    places = torch.unique(places, dim=0).numpy()
    for number in rng.permutation(len(places))[:count]:
        start, stride, rows, columns = places[number]
        high = crop_of(sheets, start, stride, rows - rows % (2 * s), columns - columns % (2 * s))
        low = to_bytes(decimate(high.astype(float), s))
        yield low, low, high, kind, number % 5 == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--archive", help="what `main.py archive` wrote of the folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=150, help="frames of each kind")
    options = parser.parse_args()
    found, rng = gather(options.sources.split(",")), np.random.default_rng(1)
    archive = Archive.read(options.archive, options.folder, SCALE)
    tables = {n: found[f"x{SCALE}.experts"][n] for n in experts.NAMES}
    banks = []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.allow_tf32 = False
    for bank in BANKS[:2]:
        banks.append(fused(fusion.FusionNet.of(SCALE, found[f"x{SCALE}.{bank}"]).to(device), tables, device))
    rows, levels, gains, held = [], [], [], []
    for part in (decoded_frames(archive, options.count, rng), stills(archive, archive.clean, 3 * options.count, rng), stills(archive, archive.soft, options.count, rng, -2)):
        for low, before, high, level, out in part:
            errors = [np.mean((bank(low, before).astype(float) - high)[SCALE:-SCALE, SCALE:-SCALE] ** 2) for bank in banks]
            rows.append(features(low))
            levels.append(level)
            gains.append(10 * np.log10(max(errors[0], 0.1) / max(errors[1], 0.1)))
            held.append(out)
    x, levels, gains, held = torch.tensor(np.array(rows), dtype=torch.float32), torch.tensor(levels), torch.tensor(gains, dtype=torch.float32), torch.tensor(held)

    seen, tested = ~held & (levels >= 0), held & (levels >= 0)
    torch.manual_seed(0)
    net = torch.nn.Linear(x.shape[1], len(LEVELS) + 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
    for _ in range(1500):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[seen]), levels[seen]).backward()
        optimizer.step()
    guess = net(x[tested]).argmax(-1)
    print("level, held out:", (guess == levels[tested]).float().mean().item(), "within one:", ((guess - levels[tested]).abs() <= 1).float().mean().item())

    # Ridge regression; the bias is not held back.
    wide, target = torch.cat([x, torch.ones(len(x), 1)], 1).double(), gains.clamp(-MOST, MOST).double()
    hold = torch.full((wide.shape[1],), 0.3).double()
    hold[-1] = 1e-6
    weight = torch.tensor([WEIGHTS.get(level, 1.0) for level in levels.tolist()]).double()[:, None]
    a = wide[~held]
    solution = torch.linalg.solve(a.T @ (weight[~held] * a) + torch.diag(hold), a.T @ (weight[~held] * target[~held, None]))[:, 0]
    chosen = wide @ solution > 0
    for name, of in (("clean", (levels == -1) & held), ("soft", (levels == -2) & held), *((f"level {i}", (levels == i) & held) for i in range(len(LEVELS) + 1))):
        best = torch.maximum(gains[of], torch.zeros(())).mean().item()
        print(f"{name}: mixed over clean {gains[of].mean().item():.3f} dB, chosen over clean {(gains[of] * chosen[of]).mean().item():.3f}, at best {best:.3f}; mixed for {chosen[of].float().mean().item():.2f}")
    np.savez(options.out, **{"damage.weight": net.weight.detach().numpy(), "damage.bias": net.bias.detach().numpy(),
                             "bank.weight": solution[:-1].float().numpy(), "bank.bias": solution[-1:].float().numpy()})


if __name__ == "__main__":
    main()
