"""Reads the folder that `prepare.py` makes onto the training device.

A sheet is a still (whole, reduced or softened) with mirrored margins; targets are crops of sheets. All sheets lie in one flat
tensor, all decoded frames in another, so that crops of any of them are sampled by index arithmetic.
"""
import io
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

import moving
from imaging import decimate, to_bytes

# Sizes that clean stills are trained at: reduced copies carry less of the camera's and the JPEG's traces.
REDUCED = (1.0, 0.85, 0.7, 0.6)


def still(blob):
    return np.asarray(Image.open(io.BytesIO(blob)).convert("L"))


def softened(luma, sigma):
    return to_bytes(gaussian_filter(luma.astype(np.float32), sigma, mode="mirror")) if sigma else luma


def resized(luma, w, h):
    return luma if luma.shape == (h, w) else np.asarray(Image.fromarray(luma).resize((w, h), Image.BICUBIC))


def decoded(job):
    """Luma [frames,h,w] of one stream."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    import cv2

    blob, codec, w, h = job
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip." + ("h264" if codec == "h264" else "ivf"))
        with open(path, "wb") as file:
            file.write(blob)
        # One thread: by default each reader starts as many as the host has cores.
        reader, frames = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), []
        if not reader.isOpened():
            reader = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        # Unconverted, a planar frame's first rows are its luma, exactly.
        reader.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        while True:
            more, frame = reader.read()
            if not more:
                return np.array(frames)
            frames.append(frame[:h, :w].copy())


def sheets_of(job):
    """The sheets of one still: [(kind, bytes [h,w])], `kind` "clean", "soft" or a softening that its clips ask for."""
    blob, scale, margin, sigmas, seed = job
    luma, rng, out = still(blob), np.random.default_rng(seed), []
    h, w = luma.shape

    def add(kind, image):
        out.append((kind, np.pad(image, margin * scale // 4, mode="symmetric")))
    for sigma in sorted(set(sigmas)):
        add(sigma, resized(softened(luma, sigma), w * scale // 4, h * scale // 4))
    for factor in REDUCED:
        # Stills of x4 are stills of x2 and x3 too.
        out.append(("clean", np.pad(resized(luma, int(w * factor), int(h * factor)), margin, mode="symmetric")))
    out.append(("soft", np.pad(softened(luma, rng.uniform(0.8, 2.5)), margin, mode="symmetric")))
    return out


STILLS = []


def share_stills(blobs):
    """Makes the decoded stills a worker's own, once."""
    STILLS.extend(still(blob) for blob in blobs)


def moved(job):
    """(luma [frames,h,w] of a stream of `moving.py`'s, its targets' `[targets,h,w]` at scale `scale`, their damage levels)."""
    blob, codec, number, scale = job
    w, h = moving.WIDTH // 4, moving.HEIGHT // 4
    low = decoded((blob, codec, w, h))
    times = [t for t in moving.TARGETS if t < len(low)]
    high = moving.frames(moving.plan(number, len(STILLS)), STILLS, times)
    levels = [level_of(np.mean((moving.reduced(f, w, h).astype(float) - low[t]) ** 2)) for t, f in zip(times, high)]
    return low, times, [f if scale == 4 else moving.reduced(f, w * scale, h * scale) for f in high], levels


class Archive:
    """`sheets` and `frames` flat u8; `clean`, `soft` [n,4] (start, stride, rows, columns of the padded sheet), one entry for
    each share of area; `damaged` [n,8] (start of frame, of its predecessor, w, h, start of the target, its stride, level, clip)."""

    NAMES = ("sheets", "frames", "clean", "soft", "damaged")

    def __init__(self, folder, scale, workers=None, limit=None):
        with open(f"{folder}/index.json") as file:
            index = json.load(file)
        self.scale, self.margin = scale, index["margin"]
        with open(f"{folder}/stills.bin", "rb") as file:
            data = file.read()
        blobs = [data[s["at"] : s["at"] + s["bytes"]] for s in index["stills"]][: limit]
        with open(f"{folder}/clips.bin", "rb") as file:
            data = file.read()
        clips = [c for c in index["clips"] if all(t[1] < len(blobs) for t in c["targets"])]
        sigmas = [set() for _ in blobs]
        for clip in clips:
            for target in clip["targets"]:
                sigmas[target[1]].add(clip["sigma"])
        # Their plans draw from all photographs.
        photographs = [b for b, s in zip(blobs, index["stills"]) if not s.get("video")]
        whole = len(photographs) == sum(not s.get("video") for s in index["stills"])
        with open(f"{folder}/moving.bin", "rb") as file:
            large = file.read()
        jobs = [(large[c["at"] : c["at"] + c["bytes"]], c["codec"], c["number"], scale) for c in index["moving"]] if whole else []
        with ProcessPoolExecutor(workers, initializer=share_stills, initargs=(photographs,)) as pool:
            moves = list(pool.map(moved, jobs, chunksize=16))
        with ProcessPoolExecutor(workers) as pool:
            streams = list(pool.map(decoded, [(data[c["at"] : c["at"] + c["bytes"]], c["codec"], c["w"], c["h"]) for c in clips], chunksize=16))
            made = list(pool.map(sheets_of, [(b, scale, self.margin, list(s), i) for i, (b, s) in enumerate(zip(blobs, sigmas))], chunksize=4))
        flat, self.clean, self.soft, found, at = [], [], [], {}, 0
        for number, parts in enumerate(made):
            for kind, image in parts:
                entry = (at, image.shape[1], *image.shape)
                if kind in ("clean", "soft"):
                    # Frames of a film resemble each other: few of them.
                    share = max(1, image.size // 20000) if not index["stills"][number].get("video") else int(number % 4 == 0)
                    (self.clean if kind == "clean" else self.soft).extend([entry] * share)
                else:
                    found[number, kind] = entry
                flat.append(image.reshape(-1))
                at += image.size
        places = []
        for _, _, high, _ in moves:
            places.append([at + i * high[0].size for i in range(len(high))])
            flat.extend(f.reshape(-1) for f in high)
            at += sum(f.size for f in high)
        self.sheets = torch.from_numpy(np.concatenate(flat))
        frames, self.damaged, start = [], [], 0
        for number, (clip, luma) in enumerate(zip(clips, streams)):
            if len(luma) == 0:
                raise SystemExit(f"clip {number} ({clip['codec']}) did not decode")
            w, h = clip["w"], clip["h"]
            for t, picture, y, x, *level in clip["targets"]:
                if y * scale % 4 or x * scale % 4 or t >= len(luma):
                    continue
                place, stride, *_ = found[picture, clip["sigma"]]
                corner = place + y * scale // 4 * stride + x * scale // 4
                if corner + h * scale * stride > len(self.sheets):
                    continue
                if not level:
                    high = self.sheets[corner : corner + h * scale * stride].numpy().reshape(-1, stride)[:, : w * scale]
                    level = [level_of(np.mean((decimate(high.astype(np.float64), scale) - luma[t]) ** 2))]
                self.damaged.append((start + t * w * h, start + max(t - 1, 0) * w * h, w, h, corner, stride, level[0], number))
            frames.append(luma.reshape(-1))
            start += luma.size
        for number, ((low, times, high, levels), corners) in enumerate(zip(moves, places), len(clips)):
            _, h, w = low.shape
            for t, f, level, corner in zip(times, high, levels, corners):
                self.damaged.append((start + t * w * h, start + max(t - 1, 0) * w * h, w, h, corner, f.shape[1], level, number))
            frames.append(low.reshape(-1))
            start += low.size
        self.frames = torch.from_numpy(np.concatenate(frames))
        self.clean, self.soft, self.damaged = (torch.tensor(x) for x in (self.clean, self.soft, self.damaged))

    def save(self, path):
        torch.save({name: getattr(self, name) for name in self.NAMES}, f"{path}.part")
        os.replace(f"{path}.part", path)

    @classmethod
    def saved(cls, path, folder, scale):
        """One that `save` left at `path`."""
        archive = cls.__new__(cls)
        with open(f"{folder}/index.json") as file:
            archive.margin = json.load(file)["margin"]
        archive.scale = scale
        for name, value in torch.load(path).items():
            setattr(archive, name, value)
        return archive

    @classmethod
    def read(cls, path, folder, scale, workers=None, limit=None):
        """`saved` at `path`, or decoded from `folder` where that is not given."""
        return cls.saved(path, folder, scale) if path else cls(folder, scale, workers, limit)

    def to(self, device):
        for name in self.NAMES:
            setattr(self, name, getattr(self, name).to(device))
        return self


# Mean square error of the decoded frame at which each damage level begins: 44, 37.5, 33.5, 30.5 and 27.5 dB.
LEVELS = (2.6, 11.6, 29.0, 58.0, 115.6)


def level_of(error):
    """0 (nearly clean) to 5."""
    return int(np.searchsorted(LEVELS, error, side="right"))


def rate(folder):
    """Writes each target's damage level into the folder's index, so that readers need not compare."""
    with open(f"{folder}/index.json") as file:
        index = json.load(file)
    archive = Archive(folder, index["scale"])
    levels = iter(archive.damaged[archive.damaged[:, 7] < len(index["clips"]), 6].tolist())
    for clip in index["clips"]:
        for target in clip["targets"]:
            target.append(next(levels))
    with open(f"{folder}/index.json", "w") as file:
        json.dump(index, file, separators=(",", ":"))
