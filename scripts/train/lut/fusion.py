"""The fusion net (per-pixel expert weights, at half resolution) and the residual branch, both on two frames.

    out = pixel + sum_e gate_e * expert_e + residual

Gates are 0..127 of 64, not normalised (experts predict differences from the pixel, so a sum below one is harmless);
the residual is in half grey levels, scale² channels that pixel-shuffle onto the output.
"""
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from experts import DIVISOR, NAMES, SHIFT
from quantized import STEP, QuantizedConv, split, straight
from samples import Clock, run
from tables import PATTERNS, neighbours, simplex, turned_block

# Keeps half-precision gradients clear of the smallest numbers.
LOSS_SCALE = 1024.0
PARTS = ("trunk", "gates")


class FusionNet(nn.Module):
    def __init__(self, scale, experts, channels=32, layers=8, gate_channels=16):
        super().__init__()
        self.scale, self.experts = scale, experts
        sizes = [4] + [channels] * (layers - 1) + [scale * scale]
        self.trunk = nn.ModuleList([QuantizedConv(a, b, i + 2 < len(sizes), 1.0 if i + 2 < len(sizes) else 0.1) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        sizes = [8, gate_channels, gate_channels, max(experts, 1)]
        self.gates = nn.ModuleList([QuantizedConv(a, b, True, 1.0 if i < 2 else 0.1) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        nn.init.constant_(self.gates[-1].bias, 1 / max(experts, 1))

    @classmethod
    def of(cls, scale, arrays):
        """The net that `arrays` describe, whatever its layers' sizes."""
        net = cls(scale, len(arrays["gates.2.weight"]), layers=sum(n.startswith("trunk.") and n.endswith(".weight") for n in arrays))
        for i, layer in enumerate(net.trunk):
            outputs, _, _, inputs = arrays[f"trunk.{i}.weight"].shape
            net.trunk[i] = QuantizedConv(inputs, outputs, layer.hidden)
        net.restore(arrays)
        return net.eval()

    def residual(self, frame, previous, quantize, dtype):
        """Grey levels, [B, s², h, w]."""
        x = torch.cat([split(frame), split(previous)], 1).to(dtype, memory_format=torch.channels_last)
        for layer in self.trunk:
            x = layer(x, quantize)
        return x.float() * (STEP / 2)

    def weights(self, frame, previous, quantize, dtype):
        """[B, experts, h, w], 1.0 = full weight."""
        h, w = frame.shape[1:]
        pad = (0, w % 2, 0, h % 2)
        pairs = [F.pixel_unshuffle(F.pad(torch.floor(f / 2)[:, None], pad, mode="replicate"), 2) / STEP for f in (frame, previous)]
        x = torch.cat(pairs, 1).to(dtype, memory_format=torch.channels_last)
        for layer in self.gates:
            x = layer(x, quantize)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :h, :w]
        return straight(x, torch.floor(x.detach() * STEP + 0.5) / STEP) if quantize else x

    def forward(self, frame, previous, predictions, quantize, dtype=torch.float32):
        """predictions [B, h, w, s², experts], each expert's difference from the pixel, or None (conv only)."""
        extra = self.residual(frame, previous, quantize, dtype)
        if predictions is not None:
            gates = self.weights(frame, previous, quantize, dtype).permute(0, 2, 3, 1)
            extra = extra + (predictions * gates[:, :, :, None]).sum(-1).permute(0, 3, 1, 2)
        return F.pixel_shuffle(frame[:, None] + extra, self.scale)[:, 0]

    def arrays(self):
        """Everything exported, by name."""
        out = {}
        for part in PARTS:
            for i, layer in enumerate(getattr(self, part)):
                out.update({f"{part}.{i}.{name}": value for name, value in zip(("weight", "bias", "shift"), layer.export())})
                # What training goes on from; the product takes the integers.
                out.update({f"latent.{part}.{i}.{name}": getattr(layer, name).detach().cpu().numpy() for name in ("weight", "bias")})
        return out

    def restore(self, arrays):
        for part in PARTS:
            for i, layer in enumerate(getattr(self, part)):
                latent = f"latent.{part}.{i}."
                if latent + "weight" in arrays and arrays[latent + "weight"].shape == layer.weight.shape:
                    with torch.no_grad():
                        layer.weight.copy_(torch.from_numpy(arrays[latent + "weight"]))
                        layer.bias.copy_(torch.from_numpy(arrays[latent + "bias"]))
                elif f"{part}.{i}.weight" in arrays:
                    layer.restore(*(arrays[f"{part}.{i}.{name}"] for name in ("weight", "bias", "shift")))


def packed(tables, device, dtype):
    """{pattern: [levels, rows, s²]} -> {pattern: [rows, s² * levels]}, all experts of a row side by side."""
    return {n: torch.from_numpy(np.ascontiguousarray(tables[n].transpose(1, 2, 0))).to(device, dtype).flatten(1) for n in NAMES}


def predict(plane, rows_of, scale):
    """Each expert's difference from the pixel, [B, h, w, s², experts], in the type of `packed` tables."""
    total = 0
    for name in NAMES:
        table = rows_of[name]
        for r in range(4):
            rows, weights = simplex(neighbours(plane, PATTERNS[name], r), SHIFT)
            values = table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, -1)
            found = (values * weights.to(table.dtype)[..., None]).sum(-2) * (1 / DIVISOR)
            total = total + turned_block(found.unflatten(-1, (scale, scale, -1)), r, (-3, -2))
    return total.flatten(-3, -2)


def train_fusion(sampler, tables, seconds, device, count=48, kinds=(1, 0, 0), channels=32, layers=8, init=None, float_share=0.6, log=print, save=None):
    """A trained FusionNet; conv only when `tables` is None. `kinds` are the shares of clean, softened and compressed crops.
    `init` names an exported net whose layers of equal shape are the starting point."""
    began, half = time.monotonic(), device.type == "cuda"
    dtype = torch.float16 if half else torch.float32
    experts = len(tables[NAMES[0]]) if tables else 0
    net = FusionNet(sampler.scale, experts, channels, layers)
    if init:
        with np.load(init) as arrays:
            net.restore(arrays)
    net = net.to(device, memory_format=torch.channels_last)
    rows_of = packed(tables, device, dtype) if tables else None
    guess = predict
    if half and tables:
        guess = compiled(predict, (torch.zeros(count, sampler.size, sampler.size, device=device), rows_of, sampler.scale), log)
    seconds -= time.monotonic() - began
    loss_value = torch.zeros((), device=device)
    soft, damaged = (round(count * share / sum(kinds)) for share in kinds[1:])
    scale = LOSS_SCALE if half else 1.0

    def phase(label, quantize, share, rates, mean_square):
        parameters = [p for p in net.parameters() if p.requires_grad]
        average = [p.detach().clone() for p in parameters]
        rate = torch.tensor(rates[0], device=device)
        optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), capturable=half, foreach=half)

        def step():
            optimizer.zero_grad(set_to_none=False)
            with torch.no_grad():
                frame, previous, target = sampler.mixture(count - soft - damaged, soft, damaged)
                predictions = guess(frame, rows_of, sampler.scale) if tables else None
            out = net(frame, previous, predictions, quantize, dtype)
            # Edges included: what lies beyond a crop is what lies beyond a frame, nothing.
            error = out - target
            # Between mean square (damaged crops would rule) and log (flat crops would).
            loss = torch.sqrt((error**2).mean((1, 2)) + 1).mean() if mean_square else torch.sqrt(error**2 + 0.1).mean()
            (loss * scale).backward()
            gradients = [p.grad for p in parameters if p.grad is not None]
            # Half precision overflows now and then: such a step counts for nothing.
            sound = torch.stack([g.isfinite().all() for g in gradients]).all()
            for g in gradients:
                g.copy_(torch.where(sound, g * (1 / scale), torch.zeros_like(g)))
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, [p.detach() for p in parameters], 0.002)
            loss_value.copy_(loss.detach())
        run(step, rate, rates, Clock(seconds * share), device, loss_value, log, label, checkpoint=quantize and save and (lambda: save(net)))
        with torch.no_grad():
            torch._foreach_copy_([p.data for p in parameters], average)
    if float_share > 0:
        for layer in net.trunk:
            layer.split()
        phase("float", False, float_share, (1.5e-3 if not init else 6e-4, 1e-4), False)
        for layer in net.trunk:
            layer.merge()
        if save:
            save(net)
    phase("quantised", True, 1 - float_share, (4e-4, 1e-6), True)
    return net.eval()


def compiled(function, example, log):
    """`function` through torch.compile where that works and gives the same; itself otherwise."""
    try:
        made = torch.compile(function, dynamic=False)
        with torch.no_grad():
            if torch.allclose(made(*example).float(), function(*example).float(), atol=0.1):
                return made
        log("compiled prediction differs: running it uncompiled")
    except Exception as error:  # a compiler that is missing fails in many ways, all with the same remedy
        log(f"not compiled: {str(error)[:200]}")
    return function
