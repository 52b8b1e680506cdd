"""The two-stage expert for clean input: tables make a frame twice as large of every frame, and tables that read its four phases make the rest.

Single-output tables between the stages (one frame of the input's size, as in MuLUT) end at 30.37 dB on Set5: all that the second stage learns of the
pixels must pass through one byte each. Four outputs are the phases of a frame twice as large; turned with the rows they take each other's places, so
that the ensemble of rotations is exact through both stages.
"""
import numpy as np
import torch

from experts import train_tables
from tables import PATTERNS, Tables

FIRST = ("s", "d", "y", "e", "t", "i")
# Lookups across phases are worth more than further ones within one: after 115 s of an H200 sixteen patterns of one phase and eight across stood at 28.02 dB on
# crops of stills held out, these at 28.04 (in a quarter more steps), and these with eight more across at 28.00.
SECOND = tuple(n + p for n in "sd" for p in "abcd") + ("block", "corner", "above", "line", "far", "bent", "wide", "ring")
PARTS = ("first", "second")
SHIFTS = (5, 5)
# Steps of a sixteenth of a grey level in the first stage, of an eighth in the second.
DIVISORS = (16 * 32, 8 * 32)
STEPS = (1, 2)


def stages_of(scale, device, names=(FIRST, SECOND)):
    return [Tables(*shape, width=64).to(device) for shape in zip(names, SHIFTS, (STEPS[1] ** 2, scale**2), DIVISORS, STEPS)]


def exported(stages):
    """{"first.<pattern>": [rows, 4], "second.<pattern>": [rows, scale²]} int8."""
    return {f"{part}.{n}": t for part, stage in zip(PARTS, stages) for n, t in stage.export().items()}


def names_of(arrays):
    """Patterns of the first and of the second stage in `exported` arrays."""
    return tuple(tuple(k.split(".")[1] for k in arrays if k.startswith(f"{part}.")) for part in PARTS)


def train_two_stage(sampler, seconds, device, count=48, start=None, log=print, save=None):
    """`exported` tables. `start`, of the same kind, is what to go on from, with its entries; without it nets come first. `save` gets what there is
    now and then."""
    names = names_of(start) if start else (FIRST, SECOND)
    stages = stages_of(sampler.scale, device, names)
    if start:
        for part, stage, own in zip(PARTS, stages, names):
            stage.load({n: start[f"{part}.{n}"] for n in own})
    train_tables(stages, lambda: sampler.undamaged(count, 0), sampler.scale, seconds, device, log, "two stages", rates=(2e-3, 8e-5), tuning=(0.06, 0.002),
                 shares=(0, 1.0) if start else (0.6, 0.4), save=save and (lambda: save(exported(stages))))
    return exported(stages)


def packed(arrays):
    """{part: (offsets [patterns, 8], tables [patterns, rows, outputs])} int8: what the product's file holds. Packed arrays stay as they are."""
    if f"{PARTS[0]}.tables" in arrays:
        return {part: (arrays[f"{part}.offsets"], arrays[f"{part}.tables"]) for part in PARTS}
    return {part: (np.array([np.ravel(PATTERNS[n]) for n in names], np.int8), np.stack([arrays[f"{part}.{n}"] for n in names]))
            for part, names in zip(PARTS, names_of(arrays))}


@torch.no_grad()
def upscale_exact(plane, arrays, scale):
    """Integer reference on one plane [h,w] u8, as the native code and the shader compute it; numpy u8."""
    stages = stages_of(scale, torch.device("cpu"), names_of(arrays))
    x = torch.from_numpy(np.ascontiguousarray(plane))[None].double()
    for part, stage, names in zip(PARTS, stages, names_of(arrays)):
        stage.load({n: arrays[f"{part}.{n}"] for n in names})
        stage.entries.data = stage.entries.data.double()
        x = torch.floor(stage(x, STEPS[1] if part == "first" else scale) + 0.5).clamp(0, 255)
    return x[0].numpy().astype(np.uint8)
