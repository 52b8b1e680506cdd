"""The two-stage expert for clean input: single-output tables sharpen the frame, sixteen-output tables enlarge it."""
import numpy as np
import torch

import fit
from experts import train_tables
from tables import Tables

NAMES = ("s", "d", "y", "e")
# 16 lookups; interval 16 in stage 1 (one byte a row, so size is no matter), 32 in stage 2.
SHIFTS = (4, 5)
# A stage-2 step is a quarter of a grey level: at a sixteenth, 30 % of the entries stood at +-127 and the pair stopped at 30.1 dB.
DIVISORS = (16 * 16, 4 * 32)


def train_two_stage(sampler, seconds, device, count=48, start=None, log=print, save=None):
    """({name: [rows, 1]}, {name: [rows, scale²]}) int8. `start` is such a pair to go on from; without it nets come first."""
    stages = [Tables(NAMES, shift, outputs, divisor).to(device) for shift, outputs, divisor in zip(SHIFTS, (1, sampler.scale**2), DIVISORS)]
    if start:
        for tables, arrays in zip(stages, start):
            tables.load(arrays)
    train_tables(stages, lambda: sampler.undamaged(count, 0), sampler.scale, seconds, device, log, "two stages", start=start, save=save and (lambda: save(tuple(t.export() for t in stages))))
    return tuple(tables.export() for tables in stages)


@torch.no_grad()
def refit(first, second, sampler, device, count=24, batches=300, log=print):
    """The second stage's tables again, by least squares on what the first stage makes; as they were where that errs more on
    crops that the fit has not seen."""
    stages = [Tables(NAMES, shift, outputs, divisor).to(device) for shift, outputs, divisor in zip(SHIFTS, (1, sampler.scale**2), DIVISORS)]
    stages[0].load(first)
    # Two more pixels at the edges than one stage leaves out: the first stage saw the crop's border there.
    edge = 4

    def batch():
        frame, _, target = sampler.undamaged(count, 0)
        return torch.floor(stages[0](frame, 1) + 0.5).clamp(0, 255), target
    fresh = [batch() for _ in range(max(2, batches // 10))]

    def error(tables):
        stages[1].load(tables)
        inner = slice(edge * sampler.scale, -edge * sampler.scale)
        return float(np.mean([((stages[1](frame, sampler.scale) - target)[:, inner, inner] ** 2).mean().item() for frame, target in fresh]))
    found = fit.fit(batch, second, NAMES, SHIFTS[1], sampler.scale, DIVISORS[1], DIVISORS[1], batches, iterations=40, edge=edge, log=log)
    before, after = error(second), error(found)
    log(f"least squares: mean square {before:.3f} before, {after:.3f} after")
    return found if after < before else second
