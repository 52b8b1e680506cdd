"""Leaves out the trunk's units that never fire, so that a net costs what its living units do.

    python prune.py --folder DIR --from SOURCES --name x4.clean --out x4.clean.npz

A unit that is zero for every picture (whole, reduced, softened, compressed, moved, flat, noise) adds nothing to the next layer. Training at
1.5e-3 leaves up to 21 of a layer's 32 so: a step of Adam's moves the last layer's outputs, whose inputs are all positive and rise and fall
together, by whole levels, and the net learns to switch them off. Layers keep a multiple of four units, which is what a processor's byte
product takes at once.
"""
import argparse

import numpy as np
import torch

from archive import Archive
from damage import decoded_frames, stills
from export import gather
from fusion import FusionNet
from quantized import bordered


@torch.no_grad()
def peaks(net, pairs):
    """The largest activation of each hidden unit of the trunk, in steps."""
    found = [torch.zeros(len(layer.bias)) for layer in net.trunk[:-1]]
    for low, previous in pairs:
        x = bordered(net.first(*(torch.from_numpy(np.ascontiguousarray(f)).float()[None] for f in (low, previous)))[0])
        for peak, layer in zip(found, net.trunk):
            x = layer(x, True)
            torch.maximum(peak, x.amax((0, 2, 3)) * 64, out=peak)
    return found


def pruned(arrays, found):
    """`arrays` without the units whose peak is zero; of those as many stay as make up a multiple of four."""
    out = {n: v for n, v in arrays.items() if not n.startswith("latent.")}
    for i, peak in enumerate(found):
        order = torch.argsort(-peak, stable=True)
        count = -(-int((peak > 0).sum()) // 4) * 4
        keep = np.sort(order[: max(count, 4)].numpy())
        for part in ("weight", "bias", "shift"):
            out[f"trunk.{i}.{part}"] = out[f"trunk.{i}.{part}"][keep]
        out[f"trunk.{i + 1}.weight"] = np.ascontiguousarray(out[f"trunk.{i + 1}.weight"][:, :, :, keep])
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--name", required=True, help="x4.clean and the like")
    parser.add_argument("--archive", help="what `main.py archive` wrote of the folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=40, help="frames of each kind")
    options = parser.parse_args()
    scale, rng = int(options.name[1]), np.random.default_rng(7)
    arrays = gather(options.sources.split(","))[options.name]
    archive = Archive.read(options.archive, options.folder, scale)
    pairs = [(np.full((16, 16), value, np.uint8),) * 2 for value in range(256)]
    pairs += [tuple(rng.integers(0, 256, (2, 64, 64)).astype(np.uint8)) for _ in range(8)]
    for part in (decoded_frames(archive, options.count, rng), stills(archive, archive.clean, 4 * options.count, rng), stills(archive, archive.soft, options.count, rng)):
        for low, previous, *_ in part:
            pairs += [(low, previous), (low, np.roll(previous, rng.integers(-3, 4, 2), (0, 1)))]
    found = peaks(FusionNet.of(scale, arrays), pairs)
    out = pruned(arrays, found)
    np.savez(options.out, **out)
    print(options.name, [len(out[f"trunk.{i}.bias"]) for i in range(len(found))], "of", [len(p) for p in found])


if __name__ == "__main__":
    main()
