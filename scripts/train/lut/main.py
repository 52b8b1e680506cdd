"""Trains what models/lut ships.

    python main.py experts   --archive x4.npz --seconds 40  --out x4.experts.npz
    python main.py two_stage --archive x4.npz --seconds 90  --out x4.two_stage.npz
    python main.py fusion    --archive x4.npz --seconds 150 --tables x4.experts.npz --out x4.fusion.npz
    python main.py conv_only --archive x4.npz --seconds 150 --out x4.conv_only.npz

Times are wall-clock: every schedule runs over seconds. `--test test.npz` prints PSNR on held-out images.
"""
import argparse
import sys

import numpy as np
import torch

import experts
import fusion
import two_stage
from imaging import psnr
from samples import Pairs


def read_archive(path):
    with np.load(path) as data:
        return data["low"], data["high"]


def test_images(path, scale):
    """(low, high) luma pairs of the named sets."""
    with np.load(path) as data:
        for key in sorted(data.files):
            kind, s, name = key.split("|")
            if kind == "low" and int(s) == scale:
                yield name.split(".")[0], data[key], data[f"high|{s}|{name}"]


def report(label, path, scale, upscale):
    """Mean PSNR of each set."""
    sums = {}
    for group, low, high in test_images(path, scale):
        out = upscale(low)
        high = high[: out.shape[0], : out.shape[1]]
        sums.setdefault(group, []).append(psnr(out[: high.shape[0], : high.shape[1]], high, scale))
    print(label, {k: round(float(np.mean(v)), 3) for k, v in sums.items()}, flush=True)


def fused(net, tables, device):
    def upscale(low):
        x = torch.from_numpy(low).to(device).float()[None]
        with torch.no_grad():
            predictions = fusion.predict(x, tables, net.scale).float() if tables else None
            out = net(x, x, predictions, True)
        return torch.floor(out[0] + 0.5).clamp(0, 255).cpu().numpy().astype(np.uint8)
    return upscale


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["experts", "two_stage", "fusion", "conv_only"])
    parser.add_argument("--archive", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--tables")
    parser.add_argument("--test")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--count", type=int)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--init", help="what to go on from: a fusion of another scale, or two-stage tables")
    options = parser.parse_args()
    torch.manual_seed(1)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    low, high = read_archive(options.archive)
    pairs = Pairs(low, high[: low.shape[1]], device)
    s, sizes = pairs.scale, {k: v for k, v in (("count", options.count), ("size", options.size)) if v}

    def log(text):
        print(f"x{s} {text}", file=sys.stderr, flush=True)
    arrays = {}
    if options.task == "experts":
        tables = experts.train_experts(pairs, options.seconds, device, log=log, **sizes)
        arrays = dict(tables)
        for level in range(pairs.levels if options.test else 0):
            report(f"x{s} expert {level} on clean", options.test, s, lambda x: experts.upscale_exact(x, {n: t[level] for n, t in tables.items()}, experts.NAMES, experts.SHIFT, s, experts.DIVISOR))
    elif options.task == "two_stage":
        start = None
        if options.init:
            with np.load(options.init) as data:
                start = [{n: data[f"{part}.{n}"] for n in two_stage.NAMES} for part in ("first", "second")]
        first, second = two_stage.train_two_stage(pairs, options.seconds, device, start=start, log=log, **sizes)
        arrays = {**{f"first.{n}": t for n, t in first.items()}, **{f"second.{n}": t for n, t in second.items()}}
        if options.test:
            def both(x):
                middle = experts.upscale_exact(x, first, two_stage.NAMES, two_stage.SHIFTS[0], 1, two_stage.DIVISORS[0])
                return experts.upscale_exact(middle, second, two_stage.NAMES, two_stage.SHIFTS[1], s, two_stage.DIVISORS[1])
            report(f"x{s} two stages", options.test, s, both)
    else:
        tables = None
        if options.task == "fusion":
            with np.load(options.tables) as data:
                tables = {n: data[n] for n in experts.NAMES}
        net = fusion.train_fusion(pairs, tables, options.seconds, device, channels=options.channels, layers=options.layers, init=options.init, log=log, **sizes)
        for part in ("trunk", "gates"):
            for i, layer in enumerate(getattr(net, part)):
                for name, value in zip(("weight", "bias", "shift"), layer.export()):
                    arrays[f"{part}.{i}.{name}"] = value
        np.savez(options.out, **arrays)
        if options.test:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            report(f"x{s} {options.task}", options.test, s, fused(net, tables, device))
    np.savez(options.out, **arrays)


if __name__ == "__main__":
    main()
