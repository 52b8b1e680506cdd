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

STEP = 64.0
EDGES = torch.tensor([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]]) / 4.0


# Share of the gradient that a cut activation lets through. Without it units that a step pushes below zero for every input never come
# back: at 2e-3, 39 of a layer's 48 were dead after a minute.
LEAK = 0.1


class Clipped(torch.autograd.Function):
    """`low`..`high`, in steps of 1/STEP when `quantize` (halves to even here, up in the product)."""

    @staticmethod
    def forward(ctx, x, low, high, quantize):
        ctx.save_for_backward(x)
        ctx.range = low, high
        if quantize:
            return torch.fake_quantize_per_tensor_affine(x, 1 / STEP, 0, round(low * STEP), round(high * STEP))
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, gradient):
        (x,), (low, high) = ctx.saved_tensors, ctx.range
        return torch.where((x - (low + high) / 2).abs_() <= (high - low) / 2, gradient, gradient * LEAK), None, None, None


def requantized(x, low, high):
    """Steps within `low`..`high`, halves rounded up."""
    return torch.floor(x * STEP + 0.5).clamp(low * STEP, high * STEP) / STEP


def straight(x, rounded):
    return x + (rounded - x).detach()


class QuantizedConv(nn.Module):
    def __init__(self, inputs, outputs, hidden=True, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * gain * (2 / (9 * inputs)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.hidden = hidden
        self.branches = None

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
    def centre(self, x):
        """Sets scale and bias so that outputs for `x` have mean 0 and deviation 0.5 before they are cut: half the units of a layer
        are on, and seven bits are put to use."""
        y = F.conv2d(x, self.weight, padding=1)[:, :, 2:-2, 2:-2]
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3)).clamp(min=1e-3) * 2
        self.weight.div_(deviation[:, None, None, None])
        self.bias.copy_(-mean / deviation)

    @torch.no_grad()
    def merge(self):
        self.weight.copy_(self.kernel())
        self.branches = None

    def shifts(self):
        largest = self.weight.detach().abs().amax((1, 2, 3)).clamp(min=2.0**-7)
        return torch.floor(torch.log2(127 / largest)).clamp(0, 14)

    def forward(self, x, quantize):
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
            w, b = F.pad(w, (0, 0, 0, 0, 0, fewer, 0, less)), F.pad(b, (0, less))
        # As the product does, which repeats the border; crops in training have zeros beyond, near which no error counts.
        if not torch.is_grad_enabled():
            x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), w.to(x.dtype), b.to(x.dtype))[:, :outputs]
        else:
            x = F.conv2d(x, w.to(x.dtype), b.to(x.dtype), padding=1)[:, :outputs]
        low, high = (0.0, 127 / STEP) if self.hidden else (-128 / STEP, 127 / STEP)
        if torch.is_grad_enabled():
            return Clipped.apply(x, low, high, quantize)
        if not quantize:
            return x.clamp(low, high)
        return requantized(x, low, high)

    @torch.no_grad()
    def export(self):
        """weight int8 [out, 3, 3, in], bias int32 [out] with the rounding half included, shift uint8 [out]."""
        k = self.shifts()
        unit = torch.exp2(k)
        weight = torch.round(self.weight * unit[:, None, None, None]).clamp(-127, 127).to(torch.int8)
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
