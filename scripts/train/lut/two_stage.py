"""The two-stage expert for clean input: single-output tables sharpen the frame, sixteen-output tables enlarge it."""
import torch

from experts import run
from samples import Clock
from tables import PixelNet, look_up, stage, straight_round

NAMES = ("s", "d", "y", "e")
# 16 lookups; interval 16 in stage 1 (one byte a row, so size is no matter), 32 in stage 2.
SHIFTS = (4, 5)
# A stage-2 step is a quarter of a grey level: at a sixteenth, 30 % of the entries stood at +-127 and the pair stopped at 30.1 dB.
DIVISORS = (16 * 16, 4 * 32)


def train_two_stage(pairs, seconds, device, count=24, size=48, start=None, log=print):
    """({name: [rows, 1]}, {name: [rows, scale²]}) int8. `start` is such a pair to go on from; without it nets come first."""
    s = pairs.scale
    nets = [{n: PixelNet(o).to(device) for n in NAMES} for o in (1, s * s)]
    loss_value = torch.zeros((), device=device)

    def forward(looks):
        frames, _, targets, _ = pairs.crops(count, size, 0)
        middle = stage(frames, looks[0], NAMES, 1, DIVISORS[0])
        middle = straight_round(middle).clamp(0, 255)
        return ((stage(middle, looks[1], NAMES, s, DIVISORS[1]) - targets) ** 2).mean()

    def trained(parameters, rates, looks, share, label):
        rate = torch.tensor(rates[0], device=device)
        optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), eps=1e-6, capturable=device.type == "cuda")

        def step():
            optimizer.zero_grad(set_to_none=False)
            loss = forward(looks)
            loss.backward()
            optimizer.step()
            loss_value.copy_(loss.detach())
        run(step, rate, rates, Clock(seconds * share), device, loss_value, log, label)

    def net_look(k):
        def look(name, pixels):
            value = nets[k][name](pixels.reshape(1, -1, 4))
            return value.reshape(*pixels.shape[:-1], -1) * (1 << SHIFTS[k])
        return look
    if start is None:
        trained([p for k in nets for n in k.values() for p in n.parameters()], (2e-3, 1e-4), [net_look(0), net_look(1)], 0.5, "two-stage nets")
        tables = [{n: nets[k][n].sample(SHIFTS[k])[0].requires_grad_() for n in NAMES} for k in (0, 1)]
    else:
        tables = [{n: torch.from_numpy(k[n]).float().to(device).requires_grad_() for n in NAMES} for k in start]

    def table_look(k):
        return lambda name, pixels: look_up(pixels, straight_round(tables[k][name].clamp(-127, 127)), SHIFTS[k])
    trained([t for k in tables for t in k.values()], (0.15, 0.005), [table_look(0), table_look(1)], 0.45 if start is None else 1, "two-stage tables")
    return tuple({n: t.detach().clamp(-127, 127).round().to(torch.int8).cpu().numpy() for n, t in k.items()} for k in tables)
