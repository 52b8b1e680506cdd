"""3x3 convolutions that train as they will run: 7-bit activations, 8-bit weights, power-of-two scales, integer requantising.

One activation step is 1/64. A channel's weights are integers over 2**k with the largest k that keeps them within 127, so
a layer runs as `(bias + sum(weight * activation)) >> k`, clamped to 0..127 (hidden) or -128..127 (last): the same integers
on every processor. Seven bits, since a product pair then fits 16 bits on machines whose only byte product is vpmaddubsw.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

STEP = 64.0


def straight(x, rounded):
    return x + (rounded - x).detach()


class QuantizedConv(nn.Module):
    def __init__(self, inputs, outputs, hidden=True, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * gain * (2 / (9 * inputs)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.hidden = hidden

    def shifts(self):
        largest = self.weight.detach().abs().amax((1, 2, 3)).clamp(min=2.0**-7)
        return torch.floor(torch.log2(127 / largest)).clamp(0, 14)

    def forward(self, x, quantize):
        w, b = self.weight, self.bias
        if quantize:
            unit = torch.exp2(self.shifts())[:, None, None, None]
            w = straight(w, torch.round(w.detach() * unit).clamp(-127, 127) / unit)
        x = F.conv2d(x, w, b, padding=1)
        x = x.clamp(0, 127 / STEP) if self.hidden else x.clamp(-128 / STEP, 127 / STEP)
        return straight(x, torch.floor(x.detach() * STEP + 0.5) / STEP) if quantize else x

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
