"""The two-stage expert for clean input: single-output tables sharpen the frame, sixteen-output tables enlarge it."""
from experts import train_tables
from tables import Tables

NAMES = ("s", "d", "y", "e")
# 16 lookups; interval 16 in stage 1 (one byte a row, so size is no matter), 32 in stage 2.
SHIFTS = (4, 5)
# A stage-2 step is a quarter of a grey level: at a sixteenth, 30 % of the entries stood at +-127 and the pair stopped at 30.1 dB.
DIVISORS = (16 * 16, 4 * 32)


def train_two_stage(sampler, seconds, device, count=24, start=None, log=print):
    """({name: [rows, 1]}, {name: [rows, scale²]}) int8. `start` is such a pair to go on from; without it nets come first."""
    stages = [Tables(NAMES, shift, outputs, divisor).to(device) for shift, outputs, divisor in zip(SHIFTS, (1, sampler.scale**2), DIVISORS)]
    if start:
        for tables, arrays in zip(stages, start):
            tables.load(arrays)
    train_tables(stages, lambda: sampler.undamaged(count, 0), sampler.scale, seconds, device, log, "two stages", start=start)
    return tuple(tables.export() for tables in stages)
