"""One-stage experts, one for each damage level: nets first, then their tables tuned through rounding."""
import numpy as np
import torch

from samples import Clock, run
from tables import PATTERNS, PixelNet, Tables, look_up, neighbours, source_order

# Interval 32 (9 samples an axis): least squares gave 29.87 dB on Set5 for pattern e at 32 against 29.86 at 16, with a table
# of a thirteenth of the size that stays in the second-level cache.
SHIFT = 5
NAMES = ("s", "e")
# Sum of 8 lookups x interval 32, so a table step is an eighth of a grey level and the sum reaches 127 levels.
DIVISOR = 256


def train_experts(sampler, seconds, device, count=48, log=print):
    """Tables {name: [levels, rows, scale²] int8}, each level in its share of the time."""
    s, levels = sampler.scale, int(sampler.damaged[:, 6].max()) + 1
    found = []
    for level in range(levels):
        pool = sampler.damaged[sampler.damaged[:, 6] == level]
        tables = Tables(NAMES, SHIFT, s * s, DIVISOR).to(device)

        def batch():
            return sampler.undamaged(count, 0) if level == 0 else sampler.compressed(count, pool)
        train_tables([tables], batch, s, seconds / levels, device, log, f"expert {level}")
        found.append(tables.export())
    return {n: np.stack([f[n] for f in found]) for n in NAMES}


# Low-resolution pixels at a crop's edge that the loss leaves out, for each stage.
EDGE = 2


def train_tables(stages, batch, scale, seconds, device, log, label, rates=(2e-3, 1e-4), tuning=(0.1, 0.003), shares=(0.6, 0.4), save=None):
    """Trains `stages` in sequence: first the nets behind the tables, seen through sampling and rounding, then the entries; `shares` of the time
    for each, one of which may be 0. `save` is called now and then while entries train."""
    edge = EDGE * len(stages) * scale
    # What each stage enlarges by: to the frame that the next one reads.
    sizes = [after.step for after in stages[1:]] + [scale]
    loss_value = torch.zeros((), device=device)

    def phase(parameters, rates, share, label, save):
        rate = torch.tensor(rates[0], device=device)
        optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), eps=1e-6, capturable=device.type == "cuda", foreach=device.type == "cuda")
        average = [p.detach().clone() for p in parameters]

        def averaged():
            """`save` with the average of the last steps in place of the parameters."""
            now = [p.detach().clone() for p in parameters]
            torch._foreach_copy_([p.data for p in parameters], average)
            save()
            torch._foreach_copy_([p.data for p in parameters], now)

        def step():
            optimizer.zero_grad(set_to_none=False)
            with torch.no_grad():
                plane, _, target = batch()
            for size, tables in zip(sizes, stages):
                plane = tables(plane, size)
                if tables is not stages[-1]:
                    plane = (plane + (torch.round(plane) - plane).detach()).clamp(0, 255)
            loss = ((plane - target)[:, edge:-edge, edge:-edge] ** 2).mean()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, [p.detach() for p in parameters], 0.002)
            loss_value.copy_(loss.detach())
        steps = run(step, rate, rates, Clock(seconds * share), device, loss_value, log, label, save and averaged)
        # The average still holds the start after a few steps.
        if steps > 1000:
            with torch.no_grad():
                torch._foreach_copy_([p.data for p in parameters], average)
    if shares[0]:
        phase([p for t in stages for p in t.parameters()], rates, shares[0], f"{label}, nets", None)
    if shares[1]:
        for tables in stages:
            if tables.entries is None:
                tables.freeze()
        phase([t.entries for t in stages], tuning, shares[1], f"{label}, tables", save)


def upscale_exact(plane, tables, names, shift, scale, divisor):
    """Integer reference on one plane [h,w] u8, as the native code and the shader compute it; numpy u8."""
    device = torch.device("cpu")
    x = torch.from_numpy(np.ascontiguousarray(plane))[None].double()
    total = 0
    for name in names:
        table = torch.from_numpy(tables[name]).double().to(device)
        for r in range(4):
            total = total + look_up(neighbours(x, PATTERNS[name], r), table, shift)[..., source_order(scale, r)]
    block = torch.floor((total + divisor / 2) / divisor) + x[..., None]
    h, w = plane.shape
    return block.clamp(0, 255).reshape(h, w, scale, scale).permute(0, 2, 1, 3).reshape(h * scale, w * scale).numpy().astype(np.uint8)
