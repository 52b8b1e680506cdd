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

import kernels
from experts import DIVISOR, NAMES, SHIFT
from quantized import STEP, QuantizedConv, bordered, split, straight
from samples import Clock, run
from tables import PATTERNS, neighbours, simplex, turned_block

# Keeps half-precision gradients clear of the smallest numbers.
LOSS_SCALE = 1024.0
PARTS = ("trunk", "gates")
# Share of the rate for a part's last layer. Its inputs are never negative and rise and fall together: at 1e-3 one step of Adam's moved the
# residual by three levels, and the net learnt to switch its units off.
LAST_RATE = 0.15
# What passes of sums below zero when float training from nothing begins; none after this share of it.
LEAK, LEAK_UNTIL = 0.2, 0.6
# Width of the hidden sums that training begins with: activations end at 127 / 64.
SPREAD = 0.4


class FusionNet(nn.Module):
    def __init__(self, scale, experts, hidden=(16,) + (32,) * 5, gate_channels=16):
        """`hidden` are the channels between the trunk's layers. `experts` = 0: the convolutions alone; their residual is in whole grey
        levels, for it has to reach as far as the tables do (in half levels Set5's butterfly could not pass 34.3 dB)."""
        super().__init__()
        self.scale, self.experts = scale, experts
        sizes = [4, *hidden, scale * scale]
        self.trunk = nn.ModuleList([QuantizedConv(a, b, i + 2 < len(sizes), 1.0 if i + 2 < len(sizes) else 0.0) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        sizes = [8, gate_channels, gate_channels, max(experts, 1)]
        self.gates = nn.ModuleList([QuantizedConv(a, b, True, 1.0 if i < 2 else 0.0) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))])
        nn.init.constant_(self.gates[-1].bias, 1 / max(experts, 1))

    @classmethod
    def of(cls, scale, arrays):
        """The net that `arrays` describe, whatever its layers' sizes."""
        hidden = []
        while f"trunk.{len(hidden) + 1}.weight" in arrays:
            hidden.append(len(arrays[f"trunk.{len(hidden)}.weight"]))
        net = cls(scale, len(arrays["gates.2.weight"]), hidden)
        net.restore(arrays)
        return net.eval()

    def first(self, frame, previous):
        """What trunk and gates read: [B,4,h,w], and [B,8,h/2,w/2]."""
        h, w = frame.shape[1:]
        pad = (0, w % 2, 0, h % 2)
        pairs = [F.pixel_unshuffle(F.pad(torch.floor(f / 2)[:, None], pad, mode="replicate"), 2) / STEP for f in (frame, previous)]
        return torch.cat([split(frame), split(previous)], 1), torch.cat(pairs, 1)

    @torch.no_grad()
    def wake(self, frame, previous):
        """Starts hidden layers so that every unit fires on such frames."""
        for part, x in zip((self.trunk, self.gates), self.first(frame, previous)):
            x = bordered(x)
            for layer in part[:-1]:
                x = layer.wake(x, SPREAD)

    def through(self, part, x, quantize, dtype):
        x = bordered(x).to(dtype, memory_format=torch.channels_last)
        for layer in part:
            x = layer(x, quantize, 0 if layer is part[-1] else 1)
        return x.float()

    def residual(self, frame, previous, quantize, dtype):
        """Grey levels, [B, s², h, w]."""
        return self.through(self.trunk, self.first(frame, previous)[0], quantize, dtype) * (STEP / 2 if self.experts else STEP)

    def weights(self, frame, previous, quantize, dtype):
        """[B, experts, h, w], 1.0 = full weight."""
        h, w = frame.shape[1:]
        x = self.through(self.gates, self.first(frame, previous)[1], quantize, dtype)
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
                out.update({f"latent.{part}.{i}.{name}": value.detach().cpu().numpy() for name, value in (("weight", layer.kernel()), ("bias", layer.bias))})
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
    if kernels.usable(plane):
        table = torch.cat([rows_of[name] for name in NAMES])
        levels = table.shape[1] // scale**2
        return kernels.lookups(plane, table, NAMES, scale, levels, SHIFT, table.dtype).mul_(1 / DIVISOR).unflatten(-1, (scale * scale, levels))
    total = 0
    for name in NAMES:
        table = rows_of[name]
        for r in range(4):
            rows, weights = simplex(neighbours(plane, PATTERNS[name], r), SHIFT)
            values = table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, -1)
            found = (values * weights.to(table.dtype)[..., None]).sum(-2) * (1 / DIVISOR)
            total = total + turned_block(found.unflatten(-1, (scale, scale, -1)), r, (-3, -2))
    return total.flatten(-3, -2)


def train_fusion(sampler, tables, seconds, device, count=48, kinds=(1, 0, 0), hidden=(16,) + (32,) * 5, init=None, float_share=0.6, rates=None, log=print, save=None, mean_square=False):
    """A trained FusionNet; conv only when `tables` is None. `kinds` are the shares of clean, softened and compressed crops.
    `init` names an exported net whose layers of equal shape are the starting point. `rates` are Adam's for float and quantised training,
    each from and to. `mean_square`: float training too goes by the crops' mean square errors, as quantised training does."""
    began, half = time.monotonic(), device.type == "cuda"
    dtype = torch.float16 if half else torch.float32
    experts = len(tables[NAMES[0]]) if tables else 0
    soft, damaged = (round(count * share / sum(kinds)) for share in kinds[1:])
    net = FusionNet(sampler.scale, experts, hidden).to(device, memory_format=torch.channels_last)
    net.wake(*sampler.mixture(count - soft - damaged, soft, damaged)[:2])
    if init:
        with np.load(init) as arrays:
            net.restore(arrays)
    rows_of = packed(tables, device, dtype) if tables else None
    guess = predict
    if half and tables and not kernels.usable(rows_of[NAMES[0]]):
        guess = compiled(predict, (torch.zeros(count, sampler.size, sampler.size, device=device), rows_of, sampler.scale), log)
    seconds -= time.monotonic() - began
    loss_value = torch.zeros((), device=device)
    scale = LOSS_SCALE if half else 1.0
    first, then = rates or (((1e-3, 1e-4) if init else (2e-3, 1e-4)), (4e-4, 1e-6))

    def phase(label, quantize, share, rates, mean_square):
        parameters = [p for p in net.parameters() if p.requires_grad]
        average = [p.detach().clone() for p in parameters]
        rate = torch.tensor(rates[0], device=device)
        slow = torch.zeros_like(rate)
        last = {id(p) for part in PARTS for p in getattr(net, part)[-1].parameters()}
        groups = [{"params": [p for p in parameters if (id(p) in last) == at_end], "lr": by} for at_end, by in ((False, rate), (True, slow))]
        optimizer = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.99), capturable=half, foreach=half)
        clock = Clock(seconds * share)

        def step():
            optimizer.zero_grad(set_to_none=False)
            with torch.no_grad():
                slow.copy_(rate * LAST_RATE)
                frame, previous, target = sampler.mixture(count - soft - damaged, soft, damaged)
                predictions = guess(frame, rows_of, sampler.scale) if tables else None
            out = net(frame, previous, predictions, quantize, dtype)
            # Edges included: a crop's border is what a frame's is.
            error = out - target
            # Between mean square (damaged crops would rule) and log (flat crops would).
            loss = torch.sqrt((error**2).mean((1, 2)) + 1).mean() if mean_square else torch.sqrt(error**2 + 0.1).mean()
            (loss * scale).backward()
            gradients = [p.grad for p in parameters if p.grad is not None]
            # Half precision overflows now and then: such a step counts for nothing.
            norm = torch.stack(torch._foreach_norm(gradients)).norm() * (1 / scale)
            for g in gradients:
                torch.nan_to_num_(g, 0.0, 0.0, 0.0)
            torch._foreach_mul_(gradients, torch.where(norm.isfinite(), 1 / (scale * norm.clamp(min=1.0)), torch.zeros_like(norm)))
            optimizer.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, [p.detach() for p in parameters], 0.002)
            loss_value.copy_(loss.detach())

        def averaged(use):
            """Runs `use` while the net holds the averages."""
            with torch.no_grad():
                kept = [p.detach().clone() for p in parameters]
                torch._foreach_copy_([p.data for p in parameters], average)
                use()
                torch._foreach_copy_([p.data for p in parameters], kept)

        def checkpoint():
            leak = LEAK * max(0.0, 1 - clock.done() / LEAK_UNTIL) if not (quantize or init) else 0.0
            for layer in [*net.trunk[:-1], *net.gates]:
                layer.slope.fill_(leak)
            if save:
                averaged(lambda: save(net))
        checkpoint()
        run(step, rate, rates, clock, device, loss_value, log, label, checkpoint)
        with torch.no_grad():
            torch._foreach_copy_([p.data for p in parameters], average)
            for layer in [*net.trunk, *net.gates]:
                layer.slope.fill_(0)
    if float_share > 0:
        for layer in net.trunk:
            layer.split()
        phase("float", False, float_share, first, mean_square)
        for layer in net.trunk:
            layer.merge()
        if save:
            save(net)
    if float_share < 1:
        phase("quantised", True, 1 - float_share, then, True)
    return net.eval()


@torch.no_grad()
def living(net, frame, previous):
    """Units of each hidden layer of the trunk that fire at least once on these frames."""
    x, found = bordered(net.first(frame, previous)[0]), []
    for layer in net.trunk[:-1]:
        x = layer(x, True)
        found.append(int((x.amax((0, 2, 3)) > 0).sum()))
    return found


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
