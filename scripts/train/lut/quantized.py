"""3x3 convolutions that train as they will run: 7-bit activations, 8-bit weights, power-of-two scales, integer requantising.

One activation step is 1/64. A channel's weights are integers over 2**k with the largest k that keeps them within 127, so
a layer runs as `(bias + sum(weight * activation)) >> k`, clamped to 0..127 (hidden) or -128..127 (last): the same integers
on every processor. Seven bits, since a product pair then fits 16 bits on machines whose only byte product is vpmaddubsw.

Float training sees a sum of parallel branches (a 3x3, a 1x1 into more channels and a 3x3 back, edge filters), which is one
3x3 kernel again ("Edge-oriented Convolution Block for Real-time Super Resolution", ACM MM 2021); `merge` makes it that.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

import kernels

STEP = 64.0
EDGES = torch.tensor([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]]) / 4.0


class Requantize(torch.autograd.Function):
    """Rounds to steps within `low`..`high`; gradients pass where nothing was cut."""

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.range = low, high
        return x.mul(STEP).add_(0.5).floor_().clamp_(low * STEP, high * STEP).mul_(1 / STEP)

    @staticmethod
    def backward(ctx, gradient):
        (x,), (low, high) = ctx.saved_tensors, ctx.range
        return gradient * ((x >= low) & (x <= high)), None, None


def bordered(x):
    """By one pixel larger on each side."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


def straight(x, rounded):
    return x + (rounded - x).detach()


class QuantizedConv(nn.Module):
    def __init__(self, inputs, outputs, hidden=True, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * gain * (2 / (9 * inputs)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.hidden = hidden
        self.branches = None
        # What passes of sums below zero, in float training alone: some at first, so that no unit dies before the layers behind it know what to do with it.
        self.register_buffer("slope", torch.zeros(()), persistent=False)

    def split(self):
        """Adds branches; the kernel stays what it is."""
        outputs, inputs = self.weight.shape[:2]
        self.branches = nn.ParameterList([
            nn.Parameter(torch.randn(2 * inputs, inputs) * inputs**-0.5), nn.Parameter(torch.zeros(outputs, 2 * inputs, 3, 3)),
            nn.Parameter(torch.zeros(outputs, inputs, 3))]).to(self.weight.device)
        self.register_buffer("edges", EDGES.to(self.weight.device), persistent=False)

    def kernel(self):
        if self.branches is None:
            return self.weight
        widen, narrow, edges = self.branches
        return self.weight + torch.einsum("omyx,mi->oiyx", narrow, widen) + torch.einsum("oik,kyx->oiyx", edges, self.edges)

    @torch.no_grad()
    def merge(self):
        self.weight.copy_(self.kernel())
        self.branches = None

    def shifts(self):
        largest = self.kernel().detach().abs().amax((1, 2, 3)).clamp(min=2.0**-7)
        return torch.floor(torch.log2(127 / largest)).clamp(0, 14)

    def forward(self, x, quantize, pad=1):
        """x [B,inputs,h+2,w+2], its border included; [B,outputs,h+2 pad,w+2 pad], where pixels beyond the border are the nearest
        ones, as in the product."""
        w, b = self.kernel(), self.bias
        if quantize:
            unit = torch.exp2(self.shifts())[:, None, None, None]
            w = straight(w, torch.round(w.detach() * unit).clamp(-127, 127) / unit)
        outputs = len(b)
        if x.is_cuda:
            # The device's matrix units want channels in eights.
            fewer, less = -x.shape[1] % 8, -outputs % 8
            if fewer:
                x = F.pad(x, (0, 0, 0, 0, 0, fewer)).contiguous(memory_format=torch.channels_last)
            if fewer or less:
                w, b = F.pad(w, (0, 0, 0, 0, 0, fewer, 0, less)), F.pad(b, (0, less))
        x = F.conv2d(x, w.to(x.dtype))
        low, high = (0.0, 127 / STEP) if self.hidden else (-128 / STEP, 127 / STEP)
        if kernels.usable(x):
            x = kernels.Activate.apply(x, b, self.slope, low, high, quantize, pad)
        else:
            x = x + b.to(x.dtype)[:, None, None]
            x = Requantize.apply(x, low, high) if quantize else F.hardtanh(x, low, high) + self.slope * (x - low).clamp(max=0)
            x = bordered(x) if pad else x
        return x[:, :outputs] if x.shape[1] > outputs else x

    @torch.no_grad()
    def wake(self, x, spread):
        """Starts the layer so that every unit fires on these inputs: kernels see differences only (frames are bright, and a unit with a
        negative sum would never fire), sums have the given spread, biases lift them a little. Returns the layer's output."""
        self.weight.sub_(self.weight.mean((1, 2, 3), keepdim=True))
        found = F.conv2d(x, self.weight)
        found_mean, found_spread = found.mean((0, 2, 3)), found.std((0, 2, 3)).clamp(min=1e-4)
        self.weight.mul_((spread / found_spread)[:, None, None, None])
        self.bias.copy_(-found_mean * spread / found_spread + 0.25 * spread)
        return self(x, False)

    @torch.no_grad()
    def export(self):
        """weight int8 [out, 3, 3, in], bias int32 [out] with the rounding half included, shift uint8 [out]."""
        k = self.shifts()
        unit = torch.exp2(k)
        weight = torch.round(self.kernel() * unit[:, None, None, None]).clamp(-127, 127).to(torch.int8)
        bias = torch.round((self.bias * STEP + 0.5) * unit).to(torch.int32)
        return weight.permute(0, 2, 3, 1).contiguous().cpu().numpy(), bias.cpu().numpy(), k.to(torch.uint8).cpu().numpy()

    @torch.no_grad()
    def restore(self, weight, bias, shift):
        """Takes exported integers back; a layer of another shape stays as it is."""
        unit = torch.exp2(torch.from_numpy(shift).float())
        weight = torch.from_numpy(weight).float().permute(0, 3, 1, 2)
        if weight.shape == self.weight.shape:
            self.weight.copy_(weight / unit[:, None, None, None])
            self.bias.copy_((torch.from_numpy(bias).float() / unit - 0.5) / STEP)


def split(plane):
    """[B,h,w] in 0..255 -> its upper seven bits and its lowest bit as activations, so that no bit is lost."""
    high = torch.floor(plane / 2)
    return torch.stack([high, plane - 2 * high], 1) / STEP
