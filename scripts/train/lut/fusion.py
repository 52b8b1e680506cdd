"""The fusion net (per-pixel expert weights, at half resolution) and the residual branch, both on two frames.

    out = pixel + sum_e gate_e * expert_e + residual

Gates are 0..127 of 64, not normalised (experts predict differences from the pixel, so a sum below one is harmless);
the residual is in half grey levels, scale² channels that pixel-shuffle onto the output.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from experts import DIVISOR, NAMES, SHIFT, run
from quantized import STEP, QuantizedConv, split, straight
from samples import Clock
from tables import look_up, stage


class FusionNet(nn.Module):
    def __init__(self, scale, experts, channels=32, layers=8, gate_channels=16):
        super().__init__()
        self.scale, self.experts = scale, experts
        sizes = [4] + [channels] * (layers - 1) + [scale * scale]
        self.trunk = nn.ModuleList([QuantizedConv(a, b, i + 2 < len(sizes), 1.0 if i + 2 < len(sizes) else 0.1) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        sizes = [8, gate_channels, gate_channels, max(experts, 1)]
        self.gates = nn.ModuleList([QuantizedConv(a, b, True, 1.0 if i < 2 else 0.1) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        nn.init.constant_(self.gates[-1].bias, 1 / max(experts, 1))

    def residual(self, frame, previous, quantize):
        """Grey levels, [B, s*h, s*w]."""
        x = torch.cat([split(frame), split(previous)], 1)
        for layer in self.trunk:
            x = layer(x, quantize)
        return F.pixel_shuffle(x, self.scale)[:, 0] * (STEP / 2)

    def weights(self, frame, previous, quantize):
        """[B, experts, h, w], 1.0 = full weight."""
        h, w = frame.shape[1:]
        pad = (0, w % 2, 0, h % 2)
        pairs = [F.pixel_unshuffle(F.pad(torch.floor(f / 2)[:, None], pad, mode="replicate"), 2) / STEP for f in (frame, previous)]
        x = torch.cat(pairs, 1)
        for layer in self.gates:
            x = layer(x, quantize)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :h, :w]
        return straight(x, torch.floor(x.detach() * STEP + 0.5) / STEP) if quantize else x

    def forward(self, frame, previous, predictions, quantize, gate=None):
        """predictions [B, experts, s*h, s*w], each expert's difference from the pixel, or None (conv only)."""
        s = self.scale
        out = frame.repeat_interleave(s, 1).repeat_interleave(s, 2)
        if predictions is not None:
            g = self.weights(frame, previous, quantize).repeat_interleave(s, 2).repeat_interleave(s, 3) if gate is None else gate
            out = out + (g * predictions).sum(1)
        return out if self.trunk is None else out + self.residual(frame, previous, quantize)


@torch.no_grad()
def predict(plane, tables, scale):
    """Each expert's difference from the pixel, [B, experts, s*h, s*w] float16, exact to the table's arithmetic."""
    out = []
    for level in range(len(tables[NAMES[0]])):
        level_tables = {n: torch.from_numpy(tables[n][level]).to(plane.device).float() for n in NAMES}
        up = stage(plane, lambda n, p: look_up(p, level_tables[n], SHIFT), NAMES, scale, DIVISOR)
        out.append(up - plane.repeat_interleave(scale, 1).repeat_interleave(scale, 2))
    return torch.stack(out, 1).half()


def predict_all(pairs, tables):
    """Predictions for every frame of the archive, laid out as `Pairs.high` is, per level and expert: [levels, n, experts, s*h*s*w]."""
    frames = pairs.low.reshape(pairs.levels * pairs.n, 2, pairs.h, pairs.w)[:, 1]
    parts = [predict(part.float(), tables, pairs.scale).flatten(2) for part in frames.split(8)]
    return torch.cat(parts)


def train_fusion(pairs, tables, seconds, device, count=32, size=48, clean_share=0.4, channels=32, layers=8, init=None, log=print):
    """A trained FusionNet; conv only when `tables` is None. `init` names an exported net whose layers of equal shape are
    the starting point."""
    experts = len(tables[NAMES[0]]) if tables else 0
    net = FusionNet(pairs.scale, experts, channels, layers)
    if init:
        with np.load(init) as arrays:
            for part in ("trunk", "gates"):
                for i, layer in enumerate(getattr(net, part)):
                    layer.restore(*(arrays[f"{part}.{i}.{name}"] for name in ("weight", "bias", "shift")))
    net = net.to(device, memory_format=torch.channels_last)
    predictions = predict_all(pairs, tables) if tables else None
    rate = torch.tensor(2e-3, device=device)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.9, 0.99), capturable=device.type == "cuda")
    loss_value = torch.zeros((), device=device)

    def step_with(quantize):
        def step():
            optimizer.zero_grad(set_to_none=False)
            level = torch.randint(pairs.levels, (count, 1, 1), device=device)
            level = torch.where(torch.rand(count, 1, 1, device=device) < clean_share, torch.zeros_like(level), level)
            frame, previous, target, chosen = pairs.crops(count, size, level, predictions)
            still = torch.rand(count, 1, 1, device=device) < 0.25
            out = net(frame, torch.where(still, frame, previous), chosen, quantize)
            # Between mean square (damaged crops would rule) and log (flat crops would).
            loss = torch.sqrt(((out - target) ** 2).mean((1, 2)) + 1).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=True)
            optimizer.step()
            loss_value.copy_(loss.detach())
        return step
    run(step_with(False), rate, (2e-3, 6e-4), Clock(seconds * 0.55), device, loss_value, log, "fusion, float")
    run(step_with(True), rate, (6e-4, 2e-6), Clock(seconds * 0.45), device, loss_value, log, "fusion, quantised")
    return net.eval()
