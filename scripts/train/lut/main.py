"""Trains one part of what models/lut ships.

    python main.py fusion    --folder DIR --scale 4 --bank clean --seconds 500 --tables x4.experts.npz --out x4.clean.npz
    python main.py conv_only --folder DIR --scale 4 --bank clean --seconds 500 --out x4.conv_only.npz
    python main.py two_stage --folder DIR --scale 4 --seconds 500 --out x4.two_stage.npz
    python main.py single    --folder DIR --scale 4 --seconds 100 --tables x4.experts.npz --out x4.single.npz
    python main.py experts   --folder DIR --scale 4 --seconds 100 --out x4.experts.npz
    python main.py archive   --folder DIR --scale 4 --out x4.pt

DIR is what `prepare.py` made; `archive` decodes it once for others to take with `--archive`. Times are wall-clock, loading
included: every schedule runs over seconds. `--test test.npz` reports PSNR on held-out images, as one JSON line.
"""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch
from PIL import Image

import experts
import fit
import fusion
import kernels
import two_stage
from archive import Archive
from imaging import psnr
from samples import Sampler

# Shares of clean, softened and compressed crops that each bank of the fusion trains on.
BANKS = {"clean": (0.9, 0.1, 0), "mixed": (0.12, 0.08, 0.8)}
# Channels between the trunk's layers: what fits a hundred frames a second on two cores.
HIDDEN = (16, 32, 32, 32, 32, 32)
# Every so many-th clip is kept from training, for the report.
HELD = 16


def report(label, path, scale, upscale):
    """Mean PSNR of each set in `path` (`low|scale|set.name`, `high|scale|set.name`)."""
    sums = {}
    with np.load(path) as data:
        for key in sorted(data.files):
            kind, s, name = key.split("|")
            if kind != "low" or int(s) != scale:
                continue
            out, high = upscale(data[key], data[key]), data[f"high|{s}|{name}"]
            sums.setdefault(name.split(".")[0], []).append(psnr(out, high[: out.shape[0], : out.shape[1]], scale))
    print(json.dumps({"label": label, "x": scale, **{k: round(float(np.mean(v)), 3) for k, v in sums.items()}}), flush=True)


def report_compressed(label, archive, held, upscale):
    """Gain over bicubic on held-out compressed frames, by damage level."""
    s, sums = archive.scale, {}
    frames, sheets = archive.frames.cpu().numpy(), archive.sheets.cpu().numpy()
    for frame, before, w, h, corner, stride, level, _ in held.tolist():
        low, previous = (frames[at : at + w * h].reshape(h, w) for at in (frame, before))
        rows = np.arange(h * s)[:, None] * stride + np.arange(w * s)
        high = sheets[corner + rows].astype(float)
        plain = np.asarray(Image.fromarray(low).resize((w * s, h * s), Image.BICUBIC))
        errors = [np.mean((o[s:-s, s:-s] - high[s:-s, s:-s]) ** 2) for o in (plain, upscale(low, previous))]
        sums.setdefault(level, []).append(10 * np.log10(errors[0] / errors[1]))
    print(json.dumps({"label": label, "x": s, "gain_by_level": {k: [round(float(np.mean(v)), 3), len(v)] for k, v in sorted(sums.items())}}), flush=True)


def held_stills(archive, size, device):
    """(frame, predecessor, target) of clean crops of every so many-th still, which `archive` then leaves out."""
    starts = archive.clean[:, 0].unique()
    kept = torch.isin(archive.clean[:, 0], starts[:: 2 * HELD])
    training = archive.clean
    archive.clean = training[kept]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = [Sampler(archive, size, device).undamaged(64, 0) for _ in range(6)]
    archive.clean = training[~kept]
    return [torch.cat(x) for x in zip(*found)]


@torch.no_grad()
def report_stills(label, net, tables, stills, device):
    """Mean PSNR over clean crops that training did not see, and the trunk's living units."""
    rows_of, s = fusion.packed(tables, device, torch.float32) if tables else None, net.scale
    found = []
    for frame, previous, target in zip(*(x.split(64) for x in stills)):
        out = net(frame, previous, fusion.predict(frame, rows_of, s) if tables else None, True).add(0.5).floor().clamp(0, 255)
        found.append(10 * torch.log10(255**2 / ((out - target)[:, s:-s, s:-s] ** 2).mean((1, 2)).clamp(min=1)))
    frame, previous, _ = (x[:128] for x in stills)
    print(json.dumps({"label": label, "x": s, "held_out_stills": round(torch.cat(found).mean().item(), 3), "living": fusion.living(net, frame, previous)}), flush=True)


def fused(net, tables, device):
    rows_of = fusion.packed(tables, device, torch.float32) if tables else None

    def upscale(low, previous):
        x, p = (torch.from_numpy(np.ascontiguousarray(f)).to(device).float()[None] for f in (low, previous))
        with torch.no_grad():
            out = net(x, p, fusion.predict(x, rows_of, net.scale) if tables else None, True)
        return torch.floor(out[0] + 0.5).clamp(0, 255).cpu().numpy().astype(np.uint8)
    return upscale


def main():
    began = time.time()
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["experts", "single", "two_stage", "fusion", "conv_only", "archive"])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", required=True)
    parser.add_argument("--bank", choices=BANKS, default="clean")
    parser.add_argument("--tables", help="experts.npz")
    parser.add_argument("--test")
    parser.add_argument("--archive", help="what `archive` wrote")
    parser.add_argument("--hidden", help="channels between the trunk's layers, by default those of --init; '+32' adds to them")
    parser.add_argument("--rates", help="Adam's for float and quantised training: from,to,from,to")
    parser.add_argument("--count", type=int)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--limit", type=int, help="use only the first stills")
    parser.add_argument("--workers", type=int, help="processes that decode the folder")
    parser.add_argument("--float_share", type=float, default=0.6)
    parser.add_argument("--init", help="what to go on from: a fusion (of any scale) or two-stage tables")
    options = parser.parse_args()
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    s = options.scale
    while options.archive and not os.path.exists(options.archive):
        time.sleep(0.2)
    archive = Archive.read(options.archive, options.folder, s, options.workers, options.limit)
    if options.task == "archive":
        archive.save(options.out)
        return
    held = archive.damaged[archive.damaged[:, 7] % HELD == 0]
    archive.damaged = archive.damaged[archive.damaged[:, 7] % HELD != 0]
    stills = held_stills(archive.to(device), options.size, device)
    sampler = Sampler(archive, options.size, device)
    label = f"x{s} {options.task} {options.bank}" if options.task in ("fusion", "conv_only") else f"x{s} {options.task}"

    def log(text):
        print(f"{time.time() - began:4.0f}s {label}: {text}", file=sys.stderr, flush=True)
    kernels.sound(device, log)
    log(f"{len(archive.clean)} clean and {len(archive.soft)} soft places, {len(sampler.damaged)} compressed frames on {device}")
    # Exact arithmetic of a report takes a while too.
    seconds = options.seconds - (time.time() - began) - (15 if options.test else 3)
    sizes = {"count": options.count} if options.count else {}
    tables = None
    if options.tables and options.task in ("fusion", "single"):
        with np.load(options.tables) as data:
            tables = {n: data[n] for n in experts.NAMES}

    if options.task == "experts":
        np.savez(options.out, **experts.train_experts(sampler, seconds, device, log=log, **sizes))
    elif options.task == "single":
        level, count = {n: t[0] for n, t in tables.items()}, options.count or 48
        batches = 8000000 // (count * options.size**2) if device.type == "cuda" else 4

        def batch():
            frame, _, target = sampler.undamaged(count, 0)
            return frame, target
        found = fit.fit(batch, level, experts.NAMES, experts.SHIFT, s, experts.DIVISOR, batches=batches, log=log)
        np.savez(options.out, **found)
        if options.test:
            report(label, options.test, s, lambda low, _: experts.upscale_exact(low, found, experts.NAMES, experts.SHIFT, s, fit.DIVISOR))
    elif options.task == "two_stage":
        start = None
        if options.init:
            with np.load(options.init) as data:
                start = {n: data[n] for n in data.files}

        def keep(arrays):
            np.savez(f"{options.out}.part.npz", **arrays)
            os.replace(f"{options.out}.part.npz", options.out)
        found = two_stage.train_two_stage(sampler, seconds, device, start=start, log=log, save=keep, **sizes)
        keep(found)
        if options.test:
            report(label, options.test, s, lambda low, _: two_stage.upscale_exact(low, found, s))
    else:
        def save(net):
            np.savez(f"{options.out}.part.npz", **net.arrays())
            os.replace(f"{options.out}.part.npz", options.out)
        hidden = HIDDEN
        if options.init:
            with np.load(options.init) as data:
                hidden = tuple(len(data[f"trunk.{i}.bias"]) for i in range(sum(n.startswith("trunk.") and n.endswith(".bias") for n in data.files) - 1))
        if options.hidden:
            given = tuple(int(n) for n in options.hidden.split(","))
            hidden = hidden + given if options.hidden.startswith("+") else given
        rates = options.rates and [float(r) for r in options.rates.split(",")]
        net = fusion.train_fusion(sampler, tables, seconds, device, kinds=BANKS[options.bank], hidden=hidden,
                                  init=options.init, float_share=options.float_share, rates=rates and (rates[:2], rates[2:]), log=log, save=save, mean_square=options.bank != "clean", **sizes)
        save(net)
        report_stills(label, net, tables, stills, device)
        if options.test:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
            upscale = fused(net, tables, device)
            report(label, options.test, s, upscale)
            report_compressed(label, archive, held, upscale)


if __name__ == "__main__":
    main()
