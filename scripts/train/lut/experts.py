"""One-stage experts, one for each damage level: nets first, then their tables tuned through rounding."""
import numpy as np
import torch

from samples import Clock, cosine, replayed
from tables import PATTERNS, PixelNet, look_up, neighbours, simplex, source_order, stage, straight_round

# Interval 32 (9 samples an axis): least squares gave 29.87 dB on Set5 for pattern e at 32 against 29.86 at 16, with a table
# of a thirteenth of the size that stays in the second-level cache.
SHIFT = 5
NAMES = ("s", "e")
# Sum of 8 lookups x interval 32, so a table step is an eighth of a grey level and the sum reaches 127 levels.
DIVISOR = 256


def batch(pairs, count, size):
    """One batch for every level: frames [levels, count, ...] and targets."""
    parts = [pairs.crops(count, size, level) for level in range(pairs.levels)]
    return torch.stack([p[0] for p in parts]), torch.stack([p[2] for p in parts])


def train_experts(pairs, seconds, device, count=8, size=48, log=print):
    """Tables {name: [levels, rows, scale²] int8}."""
    s, levels = pairs.scale, pairs.levels
    nets = {n: PixelNet(s * s, levels).to(device) for n in NAMES}
    rate = torch.tensor(2e-3, device=device)
    optimizer = torch.optim.Adam([p for n in nets.values() for p in n.parameters()], lr=rate, betas=(0.9, 0.99), capturable=device.type == "cuda")
    loss_value = torch.zeros((), device=device)

    def forward(look):
        frames, targets = batch(pairs, count, size)
        out = stage(frames.flatten(0, 1), lambda n, p: look(n, p.reshape(levels, -1, 4)).reshape(*p.shape[:-1], s * s), NAMES, s, DIVISOR)
        return ((out - targets.flatten(0, 1)) ** 2).mean()

    def net_step():
        optimizer.zero_grad(set_to_none=False)
        loss = forward(lambda n, p: nets[n](p) * (1 << SHIFT))
        loss.backward()
        optimizer.step()
        loss_value.copy_(loss.detach())

    run(net_step, rate, (2e-3, 1e-4), Clock(seconds * 0.45), device, loss_value, log, "expert nets")
    tables = {n: nets[n].sample(SHIFT).requires_grad_() for n in NAMES}
    rows = tables["s"].shape[1]
    offset = torch.arange(levels, device=device)[:, None, None] * rows
    fine_rate = torch.tensor(0.3, device=device)
    fine = torch.optim.Adam(tables.values(), lr=fine_rate, betas=(0.9, 0.99), eps=1e-4, capturable=device.type == "cuda")
    anchors = {n: t.detach().clone() for n, t in tables.items()}

    def table_step():
        fine.zero_grad(set_to_none=False)

        def look(name, pixels):
            index, weight = simplex(pixels, SHIFT)
            flat = straight_round(tables[name].clamp(-127, 127)).reshape(levels * rows, -1)
            values = flat.index_select(0, (index + offset).reshape(-1)).reshape(*index.shape, s * s)
            return (values * weight[..., None]).sum(-2)
        # Rows that no training pixel reaches stay where the net put them.
        keep = sum(((tables[n] - anchors[n]) ** 2).mean() for n in NAMES)
        loss = forward(look)
        (loss + 1e-3 * keep).backward()
        fine.step()
        loss_value.copy_(loss.detach())

    run(table_step, fine_rate, (0.3, 0.01), Clock(seconds * 0.5), device, loss_value, log, "expert tables")
    return {n: t.detach().clamp(-127, 127).round().to(torch.int8).cpu().numpy() for n, t in tables.items()}


def run(step, rate, rates, clock, device, loss_value, log, label):
    """Repeats `step` until the clock is up, with a cosine learning rate."""
    step = replayed(step, device)
    n, average, logged = 0, 0.0, 0.0
    while clock.done() < 1:
        rate.fill_(cosine(clock.done(), *rates))
        step()
        n += 1
        if n % 20 == 0:
            value = loss_value.item()
            average = value if average == 0 else 0.95 * average + 0.05 * value
            if clock.done() - logged >= 0.2:
                logged = clock.done()
                log(f"{label}: step {n}, mean squared error {average:.3f}")
    log(f"{label}: {n} steps, mean squared error {average:.3f}")


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
