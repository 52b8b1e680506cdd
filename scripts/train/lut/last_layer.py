"""The last layer of a mixed bank's trunk again. Given the layers before it that layer is linear, so that a change of its output is
least squares; integers are found one input after the other, each rounding error made up for by the inputs still to come.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

import experts
from archive import Archive
from export import gather
from fusion import FusionNet
from main import fused
from quantized import bordered

# Weight of flat frames, which are to stay what they are, against all pictures.
FLAT = 0.01


class Sums:
    """Normal equations of the change, [features, features] and [features, s²]."""

    def __init__(self, net, upscale):
        self.net, self.upscale = net, upscale
        inputs = net.trunk[-1].weight.shape[1] * 9 + 1
        self.square, self.product = torch.zeros(inputs, inputs).double(), torch.zeros(inputs, net.scale**2).double()

    @torch.no_grad()
    def add(self, low, previous, high, weight=None, part=1.0):
        """`weight` by default one over the picture's mean square error; only `part` of its inner pixels count."""
        s, (h, w) = self.net.scale, low.shape
        x = bordered(self.net.first(*(torch.from_numpy(np.ascontiguousarray(f)).float()[None] for f in (low, previous)))[0])
        for layer in self.net.trunk[:-1]:
            x = layer(x, True)
        features = F.pad(F.unfold(x, 3)[0].T, (0, 1), value=1.0)

        def blocks(image):
            return torch.from_numpy(image.reshape(h, s, w, s).transpose(0, 2, 1, 3).reshape(h * w, s * s).astype(np.float32))
        out = blocks(self.upscale(low, previous))
        error = blocks(high) - out
        error[(out == 0) | (out == 255)] = 0
        inner = torch.zeros(h, w, dtype=torch.bool)
        inner[2:-2, 2:-2] = True
        keep = (torch.rand(h * w) < part) | ~inner.flatten()
        weight = (1 / ((error**2).mean().item() + 1) if weight is None else weight) / keep.sum().item()
        features, error = features[keep].double(), error[keep].double()
        self.square += weight * features.T @ features
        self.product += weight * features.T @ error


def rounded(target, square):
    """Whole numbers near `target` [outputs, features]; the last feature, the bias, stays real."""
    upper, out = torch.linalg.cholesky(torch.linalg.inv(square), upper=True), target.clone()
    for i in range(target.shape[1] - 1):
        whole = out[:, i].round().clamp(-127, 127)
        miss = (out[:, i] - whole) / upper[i, i]
        out[:, i] = whole
        out[:, i + 1 :] -= miss[:, None] * upper[i, i + 1 :]
    return out


def refit(pictures_of, own, part, count, seed, flat_weight=FLAT):
    """The command line of `flat.py` and `heavy.py`. `pictures_of(archive, count, rng, scale)` gives frames, those before them and what they are
    to become; the output moves the share `own` of the way there, and of a picture's pixels the share `part` counts. `flat_weight` is that of flat frames."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--of", help="the net, by default the mixed bank of the scale")
    parser.add_argument("--archive", help="what `main.py archive` wrote of the folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=count, help="pictures, or pictures of each level")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    s, found, rng = options.scale, gather(options.sources.split(",")), np.random.default_rng(seed)
    arrays, tables = {k: v.copy() for k, v in found[options.of or f"x{s}.mixed"].items()}, {n: found[f"x{s}.experts"][n] for n in experts.NAMES}
    net, device = FusionNet.of(s, arrays), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    upscale = fused(FusionNet.of(s, arrays).to(device), tables, device)
    pictures, flats = Sums(net, upscale), Sums(net, upscale)
    for low, previous, high in pictures_of(Archive.read(options.archive, options.folder, s), options.count, rng, s):
        pictures.add(low, previous, high, part=part)
    weight = pictures.square[-1, -1].item() / 85
    for value in range(0, 256, 3):
        flat = np.full((24, 24), value, np.uint8)
        flats.add(flat, flat, np.full((24 * s, 24 * s), value, np.uint8), weight)
    square = pictures.square + flat_weight * flats.square
    square += 1e-4 * square.diagonal().mean() * torch.eye(len(square))
    change = torch.linalg.solve(square, own * pictures.product + flat_weight * flats.product).T
    name = f"trunk.{len(net.trunk) - 1}"
    before = torch.from_numpy(arrays[f"{name}.weight"]).permute(0, 3, 1, 2).flatten(1).double()
    # A unit of output is half a grey level for a step, 64 steps for an activation of 1.
    unit = torch.exp2(torch.from_numpy(arrays[f"{name}.shift"]).double())
    moved = rounded(F.pad(before, (0, 1)) + change * unit[:, None] / 32, square)
    arrays[f"{name}.weight"] = moved[:, :-1].reshape(len(moved), -1, 3, 3).permute(0, 2, 3, 1).to(torch.int8).contiguous().numpy()
    arrays[f"{name}.bias"] = (torch.from_numpy(arrays[f"{name}.bias"]).double() + moved[:, -1] * 64).round().to(torch.int32).numpy()
    np.savez(options.out, **{k: v for k, v in arrays.items() if not k.startswith("latent.")})
