"""Triton kernels of what training does most: an activation with its frame's border, and table lookups, each with its gradient.

Both have a plain form in `quantized.py` and `tables.py`, which is what runs where there is no CUDA device, or where `sound` finds the kernels
wrong. `python kernels.py` compares them, `TRITON_INTERPRET=1 python kernels.py` on a CPU.
"""
import os

import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BLOCK = 1024


def usable(x):
    return triton is not None and not os.environ.get("LUT_PLAIN") and (x.is_cuda or INTERPRETED)


if triton:
    @triton.jit
    def activate(v_at, bias_at, slope_at, out_at, n, H, W, C: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, QUANTIZE: tl.constexpr, PAD: tl.constexpr, SIZE: tl.constexpr):
        i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
        live = i < n
        c, p = i % C, i // C
        x, p = p % (W + 2 * PAD), p // (W + 2 * PAD)
        y, b = p % (H + 2 * PAD), p // (H + 2 * PAD)
        y = tl.minimum(tl.maximum(y - PAD, 0), H - 1)
        x = tl.minimum(tl.maximum(x - PAD, 0), W - 1)
        v = tl.load(v_at + ((b * H + y) * W + x) * C + c, live, 0.0).to(tl.float32) + tl.load(bias_at + c, live, 0.0)
        if QUANTIZE:
            r = tl.minimum(tl.maximum(tl.floor(v * 64.0 + 0.5), LOW * 64.0), HIGH * 64.0) / 64.0
        else:
            r = tl.minimum(tl.maximum(v, LOW), HIGH) + tl.load(slope_at) * tl.minimum(v - LOW, 0.0)
        tl.store(out_at + i, r.to(out_at.dtype.element_ty), live)

    @triton.jit
    def activate_back(g_at, v_at, bias_at, slope_at, out_at, n, H, W, C: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, QUANTIZE: tl.constexpr, PAD: tl.constexpr, SIZE: tl.constexpr):
        i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
        live = i < n
        c, p = i % C, i // C
        x, p = p % W, p // W
        y, b = p % H, p // H
        g = tl.zeros([SIZE], tl.float32)
        for row in tl.static_range(2 * PAD + 1):
            # This pixel's own place, and the border's where this pixel is what it repeats.
            yy = tl.where(row == 0, y + PAD, tl.where(row == 1, 0, H + 1))
            on_y = (row == 0) | ((row == 1) & (y == 0)) | ((row == 2) & (y == H - 1))
            for column in tl.static_range(2 * PAD + 1):
                xx = tl.where(column == 0, x + PAD, tl.where(column == 1, 0, W + 1))
                on = on_y & ((column == 0) | ((column == 1) & (x == 0)) | ((column == 2) & (x == W - 1)))
                g += tl.load(g_at + ((b * (H + 2 * PAD) + yy) * (W + 2 * PAD) + xx) * C + c, live & on, 0.0).to(tl.float32)
        v = tl.load(v_at + i, live, 0.0).to(tl.float32) + tl.load(bias_at + c, live, 0.0)
        if QUANTIZE:
            below = 0.0
        else:
            below = tl.load(slope_at)
        g = tl.where(v > HIGH, 0.0, tl.where(v < LOW, g * below, g))
        tl.store(out_at + i, g.to(out_at.dtype.element_ty), live)

    @triton.jit
    def order4(a, b):
        return tl.maximum(a, b), tl.minimum(a, b)

    @triton.jit
    def stride_of(code, L: tl.constexpr):
        return tl.where(code == 3, L * L * L, tl.where(code == 2, L * L, tl.where(code == 1, L, 1)))

    @triton.jit
    def place(offsets_at, turn, k: tl.constexpr, b, y, x, H, W, STEP: tl.constexpr):
        # Steps are 1 or 2: the lowest bit of an offset is the phase then, also below zero.
        dy = tl.load(offsets_at + turn * 8 + 2 * k)
        dx = tl.load(offsets_at + turn * 8 + 2 * k + 1)
        yy = tl.minimum(tl.maximum(y + (dy >> (STEP - 1)), 0), H - 1) * STEP + (dy & (STEP - 1))
        xx = tl.minimum(tl.maximum(x + (dx >> (STEP - 1)), 0), W - 1) * STEP + (dx & (STEP - 1))
        return (b * H * STEP + yy) * W * STEP + xx

    @triton.jit
    def walk(plane_at, a0, a1, a2, a3, live, SHIFT: tl.constexpr):
        """The base row and the sorted keys: 4 * fraction + 3 - axis."""
        L: tl.constexpr = (256 >> SHIFT) + 1
        p0 = tl.load(plane_at + a0, live, 0.0).to(tl.int32)
        p1 = tl.load(plane_at + a1, live, 0.0).to(tl.int32)
        p2 = tl.load(plane_at + a2, live, 0.0).to(tl.int32)
        p3 = tl.load(plane_at + a3, live, 0.0).to(tl.int32)
        c0 = tl.minimum(p0 >> SHIFT, L - 2)
        c1 = tl.minimum(p1 >> SHIFT, L - 2)
        c2 = tl.minimum(p2 >> SHIFT, L - 2)
        c3 = tl.minimum(p3 >> SHIFT, L - 2)
        base = ((c0 * L + c1) * L + c2) * L + c3
        k0 = 4 * (p0 - (c0 << SHIFT)) + 3
        k1 = 4 * (p1 - (c1 << SHIFT)) + 2
        k2 = 4 * (p2 - (c2 << SHIFT)) + 1
        k3 = 4 * (p3 - (c3 << SHIFT))
        k0, k1 = order4(k0, k1)
        k2, k3 = order4(k2, k3)
        k0, k2 = order4(k0, k2)
        k1, k3 = order4(k1, k3)
        k1, k2 = order4(k1, k2)
        return base, k0, k1, k2, k3

    @triton.jit
    def look(plane_at, table_at, offsets_at, order_at, out_at, n, rows, H, W, O: tl.constexpr, LANES: tl.constexpr, TURNS: tl.constexpr, SHIFT: tl.constexpr, STEP: tl.constexpr, SIZE: tl.constexpr):
        L: tl.constexpr = (256 >> SHIFT) + 1
        Q: tl.constexpr = 1 << SHIFT
        i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
        live = i < n
        x, p = i % W, i // W
        y, b = p % H, p // H
        lane = tl.arange(0, LANES)
        on = live[:, None] & (lane < O)[None, :]
        sum = tl.zeros([SIZE, LANES], tl.float32)
        for turn in range(TURNS):
            a0 = place(offsets_at, turn, 0, b, y, x, H, W, STEP)
            a1 = place(offsets_at, turn, 1, b, y, x, H, W, STEP)
            a2 = place(offsets_at, turn, 2, b, y, x, H, W, STEP)
            a3 = place(offsets_at, turn, 3, b, y, x, H, W, STEP)
            row, k0, k1, k2, k3 = walk(plane_at, a0, a1, a2, a3, live, SHIFT)
            row += turn // 4 * rows
            at = table_at + tl.load(order_at + turn % 4 * LANES + lane)[None, :]
            sum += (Q - (k0 >> 2)).to(tl.float32)[:, None] * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32)
            row += stride_of(k0 & 3, L)
            sum += ((k0 >> 2) - (k1 >> 2)).to(tl.float32)[:, None] * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32)
            row += stride_of(k1 & 3, L)
            sum += ((k1 >> 2) - (k2 >> 2)).to(tl.float32)[:, None] * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32)
            row += stride_of(k2 & 3, L)
            sum += ((k2 >> 2) - (k3 >> 2)).to(tl.float32)[:, None] * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32)
            row += stride_of(k3 & 3, L)
            sum += (k3 >> 2).to(tl.float32)[:, None] * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32)
        tl.store(out_at + (i * O)[:, None] + lane[None, :], sum.to(out_at.dtype.element_ty), on)

    @triton.jit
    def corner(g, at, gt_at, row, weight, on, O: tl.constexpr):
        """Adds one corner's share of the gradient to its row; returns what the corner itself gives, [pixels]."""
        tl.atomic_add(gt_at + (row * O)[:, None], g * weight.to(tl.float32)[:, None], on & (weight > 0)[:, None], sem="relaxed")
        return tl.sum(g * tl.load(at + (row * O)[:, None], on, 0.0).to(tl.float32), 1)

    @triton.jit
    def pixel_of(code, a0, a1, a2, a3):
        return tl.where(code == 3, a0, tl.where(code == 2, a1, tl.where(code == 1, a2, a3)))

    @triton.jit
    def look_back(g_at, plane_at, table_at, gt_at, gp_at, offsets_at, order_at, n, rows, H, W, O: tl.constexpr, LANES: tl.constexpr, TURNS: tl.constexpr, SHIFT: tl.constexpr, STEP: tl.constexpr, PIXELS: tl.constexpr, SIZE: tl.constexpr):
        L: tl.constexpr = (256 >> SHIFT) + 1
        Q: tl.constexpr = 1 << SHIFT
        i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
        live = i < n
        x, p = i % W, i // W
        y, b = p % H, p // H
        lane = tl.arange(0, LANES)
        on = live[:, None] & (lane < O)[None, :]
        g = tl.load(g_at + (i * O)[:, None] + lane[None, :], on, 0.0)
        for turn in range(TURNS):
            a0 = place(offsets_at, turn, 0, b, y, x, H, W, STEP)
            a1 = place(offsets_at, turn, 1, b, y, x, H, W, STEP)
            a2 = place(offsets_at, turn, 2, b, y, x, H, W, STEP)
            a3 = place(offsets_at, turn, 3, b, y, x, H, W, STEP)
            row, k0, k1, k2, k3 = walk(plane_at, a0, a1, a2, a3, live, SHIFT)
            row += turn // 4 * rows
            order = tl.load(order_at + turn % 4 * LANES + lane)[None, :]
            at = table_at + order
            gt = gt_at + order
            d0 = corner(g, at, gt, row, Q - (k0 >> 2), on, O)
            row += stride_of(k0 & 3, L)
            d1 = corner(g, at, gt, row, (k0 >> 2) - (k1 >> 2), on, O)
            row += stride_of(k1 & 3, L)
            d2 = corner(g, at, gt, row, (k1 >> 2) - (k2 >> 2), on, O)
            row += stride_of(k2 & 3, L)
            d3 = corner(g, at, gt, row, (k2 >> 2) - (k3 >> 2), on, O)
            row += stride_of(k3 & 3, L)
            d4 = corner(g, at, gt, row, k3 >> 2, on, O)
            if PIXELS:
                tl.atomic_add(gp_at + pixel_of(k0 & 3, a0, a1, a2, a3), d1 - d0, live, sem="relaxed")
                tl.atomic_add(gp_at + pixel_of(k1 & 3, a0, a1, a2, a3), d2 - d1, live, sem="relaxed")
                tl.atomic_add(gp_at + pixel_of(k2 & 3, a0, a1, a2, a3), d3 - d2, live, sem="relaxed")
                tl.atomic_add(gp_at + pixel_of(k3 & 3, a0, a1, a2, a3), d4 - d3, live, sem="relaxed")


class Activate(torch.autograd.Function):
    """Activations of a convolution's sums `v` [B,C,H,W] (channels last) and `bias` [C], by `pad` pixels repeated beyond the border."""

    @staticmethod
    def forward(ctx, v, bias, slope, low, high, quantize, pad):
        v = v.contiguous(memory_format=torch.channels_last)
        b, c, h, w = v.shape
        out = torch.empty((b, c, h + 2 * pad, w + 2 * pad), dtype=v.dtype, device=v.device, memory_format=torch.channels_last)
        n = out.numel()
        activate[(triton.cdiv(n, BLOCK),)](v, bias, slope, out, n, h, w, c, low, high, quantize, pad, BLOCK)
        ctx.save_for_backward(v, bias, slope)
        ctx.how = low, high, quantize, pad
        return out

    @staticmethod
    def backward(ctx, g):
        v, bias, slope = ctx.saved_tensors
        g = g.contiguous(memory_format=torch.channels_last)
        out, (_, c, h, w) = torch.empty_like(v), v.shape
        activate_back[(triton.cdiv(v.numel(), BLOCK),)](g, v, bias, slope, out, v.numel(), h, w, c, *ctx.how, BLOCK)
        return out, out.sum((0, 2, 3), dtype=torch.float32), None, None, None, None, None


class Lookups(torch.autograd.Function):
    """Sum over patterns and turns, [B,h,w,outputs] times the interval, of `table` [patterns * rows, outputs] at `plane` [B,h,w]."""

    @staticmethod
    def forward(ctx, plane, table, offsets, order, shift, out_type, step):
        b, (h, w), outputs = len(plane), (n // step for n in plane.shape[1:]), table.shape[1]
        out = torch.empty((b, h, w, outputs), dtype=out_type, device=plane.device)
        size = 512 // max(order.shape[1], 4)
        ctx.shape = b * h * w, 4 * len(table) // len(offsets), h, w, outputs, order.shape[1], len(offsets), shift, step
        look[(triton.cdiv(b * h * w, size),)](plane, table, offsets, order, out, *ctx.shape, size)
        ctx.save_for_backward(plane, table, offsets, order)
        ctx.pixels = plane.requires_grad
        return out

    @staticmethod
    def backward(ctx, g):
        plane, table, offsets, order = ctx.saved_tensors
        gt, gp = torch.zeros_like(table, dtype=torch.float32), torch.zeros_like(plane, dtype=torch.float32)
        size = 512 // max(order.shape[1], 4)
        look_back[(triton.cdiv(ctx.shape[0], size),)](g.float().contiguous(), plane, table, gt, gp, offsets, order, *ctx.shape, ctx.pixels, size)
        return gp if ctx.pixels else None, gt, None, None, None, None, None


_made = {}


def turned(names, scale, levels, device, step=1):
    """Offsets [patterns * 4, 8] and, for each turn, the place in a row of each output; int32, made once."""
    from tables import PATTERNS, rotate, source_order
    key = tuple(names), scale, levels, str(device), step
    if key not in _made:
        offsets = torch.tensor([[v for pair in rotate(PATTERNS[n], r, step) for v in pair] for n in names for r in range(4)], dtype=torch.int32)
        count = scale * scale * levels
        lanes = 1 << (count - 1).bit_length()
        order = torch.zeros(4, lanes, dtype=torch.int32)
        for r in range(4):
            order[r, :count] = torch.tensor([s * levels + e for s in source_order(scale, r) for e in range(levels)])
        _made[key] = offsets.to(device), order.to(device)
    return _made[key]


def lookups(plane, table, names, scale, levels, shift, out_type=torch.float32, step=1):
    return Lookups.apply(plane.contiguous(), table.contiguous(), *turned(names, scale, levels, plane.device, step), shift, out_type, step)


def sound(device, log=print):
    """Whether the kernels work on `device` (values and gradients of a small case); where they do not, the plain forms run from now on."""
    if device.type != "cuda" or triton is None:
        return False
    try:
        compare(device, [(("s", "e"), 5, 4, 1), (("sa", "dd", "corner"), 5, 4, 2)], [(False, True, 1)])
        return True
    except Exception as error:  # a compiler that is missing fails in many ways, all with the same remedy
        log(f"kernels left out: {str(error)[:300]}")
        os.environ["LUT_PLAIN"] = "1"
        return False


def compare(device, stages, layers):
    """The kernels beside their plain forms, values and gradients: stages (patterns, shift, scale) and layers (quantised, hidden, pad)."""
    import tables
    from quantized import QuantizedConv

    def check(what, module, x, *more):
        found = []
        for plain in ("1", ""):
            os.environ["LUT_PLAIN"] = plain
            out = module(x, *more)
            weight = torch.linspace(-1, 1, out.numel(), device=device).reshape(out.shape)
            found.append((out, *torch.autograd.grad((out * weight).sum(), (x, *module.parameters()))))
        for a, b in zip(*found):
            # Convolutions of the plain form may run in fewer bits.
            if not torch.allclose(a, b, atol=2e-3 * max(1.0, a.abs().max().item())):
                raise ValueError(f"{what}: off by {(a - b).abs().max().item()}")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for names, shift, scale, step in stages:
            stage = tables.Tables(names, shift, scale * scale, 100.0, step)
            stage.freeze()
            with torch.no_grad():
                stage.entries.copy_(torch.randn_like(stage.entries) * 30)
            plane = torch.randint(0, 256, (2, 9 * step, 7 * step)).float().index_fill(1, torch.arange(3), 255.0)
            check((names, shift, scale, step), stage.to(device), plane.to(device).requires_grad_(), scale)
        for quantize, hidden, pad in layers:
            layer = QuantizedConv(8, 8, hidden).to(device)
            layer.bias.data.normal_(0, 0.3)
            layer.slope.fill_(0.2 if hidden else 0.0)
            check((quantize, hidden, pad), layer, (torch.rand(2, 8, 8, 9) * 2).to(device).requires_grad_(), quantize, pad)


if __name__ == "__main__":
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compare(here, [(("s", "d", "y", "e"), 4, 1, 1), (("s", "e"), 5, 4, 1), (("s", "e"), 5, 3, 1), (("s", "t"), 5, 2, 1), (("sa", "dd", "corner"), 5, 4, 2)],
            [(quantize, hidden, pad) for quantize in (False, True) for hidden, pad in ((True, 1), (True, 0), (False, 0))])
    print("kernels agree with their plain forms")
