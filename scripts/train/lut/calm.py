"""The bank for heavy damage: the mixed one with its last layer moved towards bicubic.

    python calm.py --folder DIR --from SOURCES --scale 4 --out x4.calm.npz

At a hundred kilobits a second the mixed bank sharpens what the codec changes from frame to frame, so that it flickers more than bicubic.
Given the layers before it the last one is linear, so the change that brings its output `SHARE` of the way to bicubic is least squares over
decoded frames of heavy damage; integers are found as in `flat.py`. On held-out clips of levels 3, 4 and 5 that share cost 0.02, 0.004 and
0.002 dB; on those of level 1 it would cost 0.15.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import experts
from archive import Archive
from damage import decoded_frames
from export import gather
from flat import Sums, rounded
from fusion import FusionNet
from main import fused

SHARE = 0.4
# Damage levels from which on the bank is meant.
FROM_LEVEL = 3
# Weight of flat frames, which are to stay what they are, against all pictures.
FLAT = 0.01


def bicubic(low, scale):
    return np.asarray(Image.fromarray(low).resize((low.shape[1] * scale, low.shape[0] * scale), Image.BICUBIC))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--archive", help="what `main.py archive` wrote of the folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=40, help="pictures of each level")
    options = parser.parse_args()
    torch.manual_seed(0)
    s, found, rng = options.scale, gather(options.sources.split(",")), np.random.default_rng(4)
    arrays, tables = dict(found[f"x{s}.mixed"]), {n: found[f"x{s}.experts"][n] for n in experts.NAMES}
    net, device = FusionNet.of(s, arrays), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    upscale = fused(FusionNet.of(s, arrays).to(device), tables, device)
    archive = Archive.read(options.archive, options.folder, s)
    archive.damaged = archive.damaged[archive.damaged[:, 6] >= FROM_LEVEL]
    pictures, flats = Sums(net, upscale), Sums(net, upscale)
    for low, previous, *_ in decoded_frames(archive, options.count, rng):
        pictures.add(low, previous, bicubic(low, s), part=0.5)
    weight = pictures.square[-1, -1].item() / 85
    for value in range(0, 256, 3):
        flat = np.full((24, 24), value, np.uint8)
        flats.add(flat, flat, np.full((24 * s, 24 * s), value, np.uint8), weight)
    square = pictures.square + FLAT * flats.square
    square += 1e-4 * square.diagonal().mean() * torch.eye(len(square))
    change = torch.linalg.solve(square, SHARE * pictures.product + FLAT * flats.product).T
    name = f"trunk.{len(net.trunk) - 1}"
    before = torch.from_numpy(arrays[f"{name}.weight"].copy()).permute(0, 3, 1, 2).flatten(1).double()
    unit = torch.exp2(torch.from_numpy(arrays[f"{name}.shift"].copy()).double())
    moved = rounded(F.pad(before, (0, 1)) + change * unit[:, None] / 32, square)
    arrays[f"{name}.weight"] = moved[:, :-1].reshape(len(moved), -1, 3, 3).permute(0, 2, 3, 1).to(torch.int8).contiguous().numpy()
    arrays[f"{name}.bias"] = (torch.from_numpy(arrays[f"{name}.bias"].copy()).double() + moved[:, -1] * 64).round().to(torch.int32).numpy()
    np.savez(options.out, **{k: v for k, v in arrays.items() if not k.startswith("latent.")})


if __name__ == "__main__":
    main()
