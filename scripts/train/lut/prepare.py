"""Makes the training archive: luma targets, clean low-resolution luma and its H.264/VP8 damage at five levels.

    python prepare.py --data DIR --out training.npz [--limit N]

Reads DIR/train/bsds500/*.jpg. Each image becomes one short clip whose last frame is the
image itself and whose earlier frames pan, zoom and rotate over it; the clip is reduced by bicubic decimation, encoded
as a real-time sender would, decoded, and its last two frames kept. Needs numpy, scipy, pillow and ffmpeg on PATH.
"""
import argparse
import glob
import os
import subprocess
import tempfile

import numpy as np
from PIL import Image
from scipy.ndimage import affine_transform

from imaging import decimate, studio_luma

FRAMES = 6
# Quantiser of each damage level: the decoded training frames lie 40, 35, 32, 29 and 26 dB from the clean ones.
H264_QP = (22, 28, 33, 38, 43)
VP8_Q = (12, 24, 36, 48, 58)


def moving_frames(luma, rng):
    """FRAMES images ending in `luma` itself; earlier ones under a constant random motion."""
    h, w = luma.shape
    zoom, angle = rng.uniform(-0.012, 0.012), rng.uniform(-0.012, 0.012)
    shift = rng.uniform(-6, 6, 2) * (rng.random() < 0.75)
    centre = np.array([h - 1, w - 1]) / 2
    frames = []
    for age in range(FRAMES - 1, -1, -1):
        if age == 0:
            frames.append(luma.astype(np.float64))
            continue
        s, a = 1 + zoom * age, angle * age
        m = s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        frames.append(affine_transform(luma.astype(np.float32), m, centre - m @ centre + shift * age, order=1, mode="mirror"))
    return frames


def to_bytes(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def encode(frames, args, suffix):
    """Encodes [N,h,w] u8 luma as 4:2:0 with neutral chroma, decodes it and returns the luma."""
    n, h, w = frames.shape
    grey = np.full((h // 2) * (w // 2) * 2, 128, np.uint8).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip" + suffix)
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"]
        keys = ["-force_key_frames", f"expr:eq(mod(n,{FRAMES}),0)"]
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", *raw, "-s", f"{w}x{h}", "-r", "25", "-i", "-", *args, *keys, path],
            input=b"".join(f.tobytes() + grey for f in frames), check=True)
        out = subprocess.run(["ffmpeg", "-v", "error", "-i", path, *raw, "-"], check=True, stdout=subprocess.PIPE).stdout
    out = np.frombuffer(out, np.uint8).reshape(-1, h * w * 3 // 2)
    assert len(out) == n, f"encoder returned {len(out)} frames of {n}"
    return out[:, : h * w].reshape(n, h, w)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--limit", type=int, default=400)
    options = parser.parse_args()
    s, rng = options.scale, np.random.default_rng(1)
    clips, targets = [], []
    for path in sorted(glob.glob(f"{options.data}/train/bsds500/*.jpg"))[: options.limit]:
        luma = studio_luma(np.asarray(Image.open(path).convert("RGB")))
        luma = luma.T if luma.shape[0] > luma.shape[1] else luma
        luma = np.ascontiguousarray(luma[:320, :480])
        target = to_bytes(luma)
        targets.append(target)
        clips.append([to_bytes(decimate(f, s)) for f in moving_frames(target, rng)])
    clips = np.array(clips)
    n, _, h, w = clips.shape
    flat = clips.reshape(-1, h, w)
    levels = [clips[:, -2:]]
    for qp, q in zip(H264_QP, VP8_Q):
        h264 = encode(flat, ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-qp", str(qp), "-g", "600"], ".mkv")
        vp8 = encode(flat, ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M", "-qmin", str(q), "-qmax", str(q), "-g", "600"], ".webm")
        chosen = h264.reshape(clips.shape)[:, -2:].copy()
        chosen[3::4] = vp8.reshape(clips.shape)[3::4, -2:]
        levels.append(chosen)
        error = (chosen[:, 1].astype(float) - clips[:, -1]) ** 2
        print(f"qp {qp}: {10 * np.log10(255**2 / error.mean()):.2f} dB against the clean input", flush=True)
    arrays = {"low": np.array(levels)}
    if s == 4:
        arrays["high"] = np.array(targets)
    np.savez_compressed(options.out, **arrays)


if __name__ == "__main__":
    main()
