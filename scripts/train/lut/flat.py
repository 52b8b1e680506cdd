"""The last layer of a mixed bank's trunk again, so that flat areas stay what they are.

    python flat.py --folder DIR --from SOURCES --scale 4 --out x4.mixed.npz

Films have black bars and fades, the training pictures have not: a bank trained on them moved a flat frame by up to six levels.
On flat frames the error is to vanish, on decoded frames and stills the output moves half the way to its own least squares.
"""
from damage import decoded_frames, stills
from last_layer import refit

# Shares of decoded frames, stills and softened stills among the pictures.
KINDS = (0.7, 0.15, 0.15)


def pictures(archive, count, rng, _scale):
    n = [int(count * share) for share in KINDS]
    for part in (decoded_frames(archive, n[0] // 6, rng), stills(archive, archive.clean, n[1], rng), stills(archive, archive.soft, n[2], rng)):
        for low, previous, high, *_ in part:
            yield low, previous, high


if __name__ == "__main__":
    refit(pictures, own=0.5, part=0.35, count=420, seed=3)
