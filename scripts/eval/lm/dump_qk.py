"""Writes what `deno task dump:qk` writes (`layer<n>.{q,k,v}.npy`, half precision, `[heads, tokens, head_dim]`, after
rotary positions, and `tokens.npy`), for texts as long as a GPU allows: 128K tokens of eight layers in seconds. Needs only torch and numpy.

    deno task dump:qk --data DIR --tokens 131072 --ids ids.u32
    python3 -m scripts.eval.lm.dump_qk --model models/sparrow-tiny.gguf --ids ids.u32 --out dumps --layers 0,2,4,6,7

With `--report-only` it writes no files but what `dump:qk` prints of each head.

Attention over earlier tokens is computed in half precision on a GPU, in f32 on a CPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.convert.read_gguf import Gguf
from scripts.eval.lm.head_statistics import head_statistics


def rms_norm(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * gain


def rotate(x: Tensor, base: float) -> Tensor:
    """Rotary positions on neighbouring pairs; `x` is `[tokens, heads, head_dim]`."""
    tokens, _, dim = x.shape
    frequencies = base ** (-torch.arange(0, dim, 2, device=x.device, dtype=torch.float64) / dim)
    angles = torch.arange(tokens, device=x.device, dtype=torch.float64)[:, None, None] * frequencies
    cos, sin = angles.cos().float(), angles.sin().float()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


@torch.no_grad()
def forward(gguf: Gguf, ids: Tensor, layers: int, watch: Callable[[int, Tensor, Tensor, Tensor], None]) -> Tensor:
    """States `[tokens, width]` after the first `layers` layers of an arcee model; `watch` sees each layer's number and its
    queries, keys and values `[tokens, heads, head_dim]` after rotary positions."""
    architecture = gguf.metadata["general.architecture"]
    if architecture != "arcee":
        raise ValueError(f"architecture is {architecture}, expected arcee")
    get = lambda key: gguf.metadata[f"arcee.{key}"]  # noqa: E731
    heads, kv_heads, dim = (get(f"attention.{key}") for key in ("head_count", "head_count_kv", "key_length"))
    epsilon, base = get("attention.layer_norm_rms_epsilon"), get("rope.freq_base")
    weight = lambda name: gguf.tensor(name + ".weight").to(ids.device)  # noqa: E731
    x = weight("token_embd")[ids]
    for layer in range(layers):
        part = lambda name: weight(f"blk.{layer}.{name}")  # noqa: B023, E731
        h = rms_norm(x, part("attn_norm"), epsilon)
        q = rotate((h @ part("attn_q").T).view(-1, heads, dim), base)
        k = rotate((h @ part("attn_k").T).view(-1, kv_heads, dim), base)
        v = (h @ part("attn_v").T).view(-1, kv_heads, dim)
        watch(layer, q, k, v)
        kind = torch.float16 if ids.is_cuda else torch.float32
        shared = heads // kv_heads
        mixed = torch.empty_like(q)
        # A head at a time: the kernels then need no copies of the keys for the heads that share them.
        for head in range(heads):
            parts = (q[:, head], k[:, head // shared], v[:, head // shared])
            mixed[:, head] = F.scaled_dot_product_attention(*(t.to(kind)[None, None] for t in parts), is_causal=True)[0, 0]
        x = x + mixed.flatten(1) @ part("attn_output").T
        live = F.relu(rms_norm(x, part("ffn_norm"), epsilon) @ part("ffn_up").T)
        x = x + live.square() @ part("ffn_down").T
    return x


def read_ids(path: Path) -> Tensor:
    """Token ids on the device that the work is done on."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.from_numpy(np.fromfile(path, np.uint32).astype(np.int64)).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--ids", type=Path, required=True, help="token ids, 32 bits each, as dump:qk --ids writes them")
    parser.add_argument("--out", type=Path, default=Path("dumps"))
    parser.add_argument("--layers", help="comma-separated, default all")
    parser.add_argument("--report-only", action="store_true")
    args = parser.parse_args()
    gguf = Gguf(args.model)
    layers = gguf.metadata["arcee.block_count"]
    wanted = range(layers) if args.layers is None else [int(layer) for layer in args.layers.split(",")]
    if args.report_only:
        print("layer head  queries' gap to keys  mass of the top 10 % of keys")
    else:
        args.out.mkdir(parents=True, exist_ok=True)
        np.save(args.out / "tokens.npy", np.fromfile(args.ids, np.uint32))

    def watch(layer: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        if args.report_only and layer in wanted:
            for head, (gap, mass) in enumerate(head_statistics(q, k)):
                print(f"{layer:5} {head:4}  {gap:20.2f}  {mass:28.3f}", flush=True)
        elif layer in wanted:
            for name, rows in (("q", q), ("k", k), ("v", v)):
                np.save(args.out / f"layer{layer}.{name}.npy", rows.transpose(0, 1).half().cpu().numpy())
            print(f"layer {layer} of {layers}", flush=True)

    forward(gguf, read_ids(args.ids), max(wanted) + 1, watch)


if __name__ == "__main__":
    main()
