"""Makes the training folder: stills, and moving clips of them as real-time senders encode them.

    python prepare.py --data DIR --out FOLDER [--clips 4] [--moving 2600] [--limit N]

Reads DIR/train/bsds500/*.jpg, DIR/train/t91/*.bmp and two clips of DIR/video. Writes `stills.bin` (WebP luma), `clips.bin`
(H.264 byte streams and VP8 in IVF, as encoded: a tenth of the decoded size), `moving.bin` (the same of `moving.py`'s clips) and `index.json`. A clip pans by whole pixels
over a mirrored still, stands, or zooms and turns; where a frame is an exact crop of its still, that crop is a target. The
codecs run at a bitrate with a short buffer, at a fixed quantiser, or at two bitrates one after the other. `archive.py` reads
the folder. Needs numpy, scipy, pillow and ffmpeg with libx264 and libvpx on PATH.
"""
import argparse
import glob
import io
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

import moving
from archive import rate
from imaging import decimate, studio_luma, to_bytes

FRAMES = 12
SCALE = 4
# Mirrored pixels around a still that a pan may reach.
MARGIN = 48
TARGETS = (0, 2, 5, 8, 11)
# Bits a pixel. The bench's 100 to 1000 kb/s at 320x180 are 0.07 to 0.7, of smoother pictures than reduced photographs.
BITS = (0.05, 0.8)
H264 = "-c:v libx264 -preset veryfast -tune zerolatency -g 600 -bsf:v filter_units=remove_types=6 -f h264".split()
VP8 = "-c:v libvpx -deadline realtime -cpu-used 8 -g 600 -f ivf".split()


def still_bytes(luma):
    file = io.BytesIO()
    Image.fromarray(luma).save(file, "WEBP", quality=88, method=4)
    return file.getvalue()


def encode(frames, arguments):
    """[N,h,w] u8 luma as 4:2:0 with neutral chroma -> the stream's bytes."""
    _, h, w = frames.shape
    grey = np.full((h // 2) * (w // 2) * 2, 128, np.uint8).tobytes()
    head = f"ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s {w}x{h} -r 25 -i -".split()
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([*head, "-threads", "1", *arguments, file.name], input=b"".join(f.tobytes() + grey for f in frames), check=True)
        return file.read()


def at_bitrate(codec, rate):
    return [*codec, "-b:v", f"{rate}", "-maxrate", f"{rate}", "-bufsize", f"{rate // 2}"]


def stream(low, rng):
    """(codec, bytes) of [FRAMES,h,w] through a random setting."""
    area = low.shape[1] * low.shape[2]

    def rate():
        return int(np.exp(rng.uniform(*np.log(BITS))) * area * 25)
    kind = rng.random()
    if rng.random() < 0.25:
        q = int(rng.integers(12, 64))
        return "vp8", encode(low, at_bitrate(VP8, rate()) if kind < 0.6 else [*VP8, "-b:v", "2M", "-qmin", f"{q}", "-qmax", f"{q}"])
    if kind < 0.5:
        return "h264", encode(low, at_bitrate(H264, rate()))
    if kind < 0.65:
        return "h264", encode(low[:6], at_bitrate(H264, rate())) + encode(low[6:], at_bitrate(H264, rate()))
    return "h264", encode(low, [*H264, "-qp", f"{rng.integers(20, 49)}"])


def shown(luma, rng):
    """FRAMES images of the size of `luma`, and for each the (y, x) of the crop of the mirrored still that it is, or None."""
    h, w = luma.shape
    wide = np.pad(luma, MARGIN, mode="symmetric")
    kind = rng.random()
    if kind < 0.7:
        velocity = rng.integers(-8, 9, 2) if kind < 0.55 else np.zeros(2, int)
        start = MARGIN - velocity * (FRAMES - 1) // 2
        places = [tuple(int(v) for v in start + velocity * t) for t in range(FRAMES)]
        return [wide[y : y + h, x : x + w] for y, x in places], [p if t in TARGETS else None for t, p in enumerate(places)]
    zoom, angle, shift = rng.uniform(-0.012, 0.012), rng.uniform(-0.012, 0.012), rng.uniform(-6, 6, 2)
    exact, centre = int(rng.choice([2, 5, 8, 11])), np.array([h - 1, w - 1]) / 2
    frames = []
    for t in range(FRAMES):
        age = t - exact
        s, a = 1 + zoom * age, angle * age
        m = s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        offset = centre - m @ centre + shift * age
        frames.append(affine_transform(luma.astype(np.float32), m, offset, order=1, mode="mirror") if age else luma)
    return frames, [(MARGIN, MARGIN) if t == exact else None for t in range(FRAMES)]


def video(path, size, every):
    """Luma [N,h,w] of a clip."""
    w, h = size
    raw = subprocess.run(f"ffmpeg -v error -i {path} -vf crop={w}:{h} -pix_fmt yuv420p -f rawvideo -".split(), check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, w * h * 3 // 2)[::every, : w * h].reshape(-1, h, w)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--clips", type=int, default=4, help="clips a still")
    parser.add_argument("--moving", type=int, default=2600, help="clips of enlarged stills")
    parser.add_argument("--limit", type=int, default=400)
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    blobs = {"stills": [], "clips": [], "moving": []}
    index = {"margin": MARGIN, "scale": SCALE, **{kind: [] for kind in blobs}}

    def keep(kind, data, **entry):
        index[kind].append({"at": sum(map(len, blobs[kind])) if not index[kind] else index[kind][-1]["at"] + index[kind][-1]["bytes"], "bytes": len(data), **entry})
        blobs[kind].append(data)

    def picture(path):
        luma = studio_luma(np.asarray(Image.open(path).convert("RGB")))
        luma = luma.T if luma.shape[0] > luma.shape[1] else luma
        data = still_bytes(np.ascontiguousarray(to_bytes(luma)[: luma.shape[0] // 8 * 8, : luma.shape[1] // 8 * 8]))
        # What the trainer will decode is the truth from here on.
        return data, np.asarray(Image.open(io.BytesIO(data)).convert("L"))

    def clip(job):
        number, luma, seed = job
        rng = np.random.default_rng(seed)
        sigma = float(np.round(rng.uniform(0.8, 2.5), 2)) if rng.random() < 0.25 else 0.0
        source = to_bytes(gaussian_filter(luma.astype(np.float32), sigma, mode="mirror")) if sigma else luma
        frames, places = shown(source, rng)
        codec, data = stream(np.array([to_bytes(decimate(f, SCALE)) for f in frames]), rng)
        targets = [[t, number, *place] for t, place in enumerate(places) if place]
        return data, dict(codec=codec, w=luma.shape[1] // SCALE, h=luma.shape[0] // SCALE, sigma=sigma, targets=targets)

    def large(number):
        made = moving.plan(number, len(lumas))
        w, h = moving.WIDTH // SCALE, moving.HEIGHT // SCALE
        low = np.array([moving.reduced(f, w, h) for f in moving.frames(made, lumas, range(moving.FRAMES))])
        return made["codec"], encode(low, at_bitrate(VP8 if made["codec"] == "vp8" else H264, int(made["bits"] * w * h * 25)))

    with ThreadPoolExecutor(2) as pool:
        paths = sorted(glob.glob(f"{options.data}/train/bsds500/*.jpg"))[: options.limit]
        pictures = list(pool.map(picture, paths + sorted(glob.glob(f"{options.data}/train/t91/*.bmp"))[: options.limit]))
        jobs = []
        for number, (data, luma) in enumerate(pictures):
            keep("stills", data, w=luma.shape[1], h=luma.shape[0])
            jobs += [(number, luma, 1000 * number + i) for i in range(options.clips if number < len(paths) else 0)]
        print(f"{len(pictures)} stills", flush=True)
        for data, entry in pool.map(clip, jobs):
            keep("clips", data, **entry)
        lumas = [luma for _, luma in pictures]
        for number, (codec, data) in enumerate(pool.map(large, range(options.moving))):
            keep("moving", data, codec=codec, number=number)
        rng = np.random.default_rng(7)
        for name, size, every in (("park_joy_420_720p50_frm0to9_480x270.y4m", (480, 256), 1), ("carphone_pristine.mp4", (176, 144), 3)):
            frames = video(f"{options.data}/video/{name}", size, every)[:48]
            first = len(index["stills"])
            for data, f in pool.map(lambda f: (still_bytes(f), f), frames):
                keep("stills", data, w=f.shape[1], h=f.shape[0], video=True)
            low = np.array([to_bytes(decimate(f, SCALE)) for f in frames])
            for start in range(0, len(low) - 9, 12):
                for _ in range(4):
                    part = low[start : start + FRAMES]
                    codec, data = stream(part, rng)
                    keep("clips", data, codec=codec, w=size[0] // SCALE, h=size[1] // SCALE, sigma=0.0, targets=[[t, first + start + t, MARGIN, MARGIN] for t in TARGETS if t < len(part)])
    for kind, parts in blobs.items():
        with open(f"{options.out}/{kind}.bin", "wb") as file:
            file.write(b"".join(parts))
        print(kind, len(parts), sum(map(len, parts)), "bytes", flush=True)
    with open(f"{options.out}/index.json", "w") as file:
        json.dump(index, file, separators=(",", ":"))
    rate(options.out)


if __name__ == "__main__":
    main()
