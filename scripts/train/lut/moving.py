"""Longer clips for compressed video: an enlarged still that pans or stands, and in most of them a part of another still that moves
across it. Frames are smoother for their size than reduced photographs, as films and animations are, and what the codec does to a
picture part by part (standing parts copied, moving ones coarse) is there. Nets trained with them gained 0.05 dB more at 100 kb/s and
0.13 at 500 on a held-out animation than those trained on `prepare.py`'s short clips alone.

Everything follows from a clip's number, so that the folder holds the streams alone.
"""
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

WIDTH, HEIGHT, FRAMES = 640, 400, 24
TARGETS = (1, 5, 9, 13, 18, 23)
# Pixels a frame that the background and the part in front move at most.
PAN, RUN = 6, 10
# Bits a pixel: 100 to 700 kb/s at 320x180 and 25 frames a second.
BITS = (0.05, 0.5)


def plan(number, stills):
    """What clip `number` shows, of so many stills."""
    rng = np.random.default_rng(number)
    pan = rng.integers(-PAN, PAN + 1, 2) if rng.random() < 0.6 else np.zeros(2, int)
    return {
        "number": number,
        "still": int(rng.integers(stills)), "front": int(rng.integers(stills)),
        "grow": rng.uniform(1.15, 2.4), "front_grow": rng.uniform(1.15, 2.4),
        "pan": pan, "run": rng.integers(-RUN, RUN + 1, 2) if rng.random() < 0.8 else pan,
        "in_front": bool(rng.random() < 0.7), "radius": rng.uniform(40, 150, 2), "centre": rng.uniform((60, 60), (HEIGHT - 60, WIDTH - 60)),
        "sway": rng.uniform(0, 6, 2), "phase": rng.uniform(0, 6.3), "mirrored": bool(rng.random() < 0.5),
        "bits": float(np.exp(rng.uniform(*np.log(BITS)))), "codec": "vp8" if rng.random() < 0.12 else "h264",
        "sigma": rng.uniform(0.4, 1.2) if rng.random() < 0.3 else 0.0,
        "corner": rng.random(2),
    }


def enlarged(luma, factor, height, width):
    """At least `height x width` pixels, mirrored where the still ends."""
    h, w = (max(8, int(n * factor)) for n in luma.shape)
    image = np.asarray(Image.fromarray(luma).resize((w, h), Image.BICUBIC))
    return np.pad(image, ((0, max(0, height - h)), (0, max(0, width - w))), mode="symmetric")


def frames(clip, stills, which):
    """Luma [HEIGHT, WIDTH] of the frames numbered `which`."""
    half = FRAMES // 2
    margin, reach = PAN * half + 4, RUN * half + 12
    back = enlarged(stills[clip["still"]], clip["grow"], HEIGHT + 2 * margin, WIDTH + 2 * margin)
    front = enlarged(stills[clip["front"]], clip["front_grow"], HEIGHT + 2 * reach, WIDTH + 2 * reach)
    if clip["mirrored"]:
        back = back[:, ::-1]
    room = np.array(back.shape) - (HEIGHT + 2 * margin, WIDTH + 2 * margin)
    corner = (clip["corner"] * room).astype(int)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    out = []
    for t in which:
        top, left = corner + margin + clip["pan"] * (t - half)
        frame = back[top : top + HEIGHT, left : left + WIDTH]
        if clip["in_front"]:
            move = clip["run"] * (t - half) + np.round(clip["sway"] * np.sin(0.5 * t + clip["phase"])).astype(int)
            top, left = reach + move
            part = front[top : top + HEIGHT, left : left + WIDTH]
            place, radius = clip["centre"] - move, clip["radius"]
            away = np.sqrt(((y - place[0]) / radius[0]) ** 2 + ((x - place[1]) / radius[1]) ** 2)
            # An ellipse with an edge of two pixels.
            share = np.clip((1 - away) * min(radius) / 2 + 0.5, 0, 1)
            frame = np.round(frame * (1 - share) + part * share).astype(np.uint8)
        if clip["sigma"]:
            frame = np.round(gaussian_filter(frame.astype(np.float32), clip["sigma"])).astype(np.uint8)
        out.append(frame)
    return out


def reduced(frame, width, height):
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.BICUBIC))
