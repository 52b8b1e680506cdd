"""The last layer of a mixed bank's trunk again, so that flat areas stay what they are.

    python flat.py --folder DIR --from SOURCES --scale 4 --out x4.mixed.npz

Films have black bars and fades, the training pictures have not: a bank trained on them moved a flat frame by up to six levels.
On flat frames the error is to vanish, on decoded frames and stills the output moves most of the way to its own least squares. That also
gives a soft scene that training never saw 0.23 dB more at x4 and 0.39 at x3 (1000 kb/s; half of the way: 0.27 at x3), and takes 0.02 from an animation at most.
"""
from damage import decoded_frames, stills
from last_layer import refit

# Share of the way to its own least squares that the output moves.
SHARE = 0.8
# Shares of decoded frames, stills and softened stills among the pictures.
KINDS = (0.7, 0.15, 0.15)


def pictures(archive, count, rng, _scale):
    n = [int(count * share) for share in KINDS]
    for part in (decoded_frames(archive, n[0] // 6, rng), stills(archive, archive.clean, n[1], rng), stills(archive, archive.soft, n[2], rng)):
        for low, previous, high, *_ in part:
            yield low, previous, high


if __name__ == "__main__":
    refit(pictures, own=SHARE, part=0.35, count=420, seed=3)
