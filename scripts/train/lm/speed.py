"""Measures what training costs on this device: attention back ends, then whole steps by sequence length.

    python -m scripts.train.lm.speed --config tiny
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from scripts.train.lm.config import CONFIGS, TrainConfig
from scripts.train.lm.model import Decoder, token_losses
from scripts.train.lm.optimizer import make_optimizers


def seconds(work: Callable[[], None], repeats: int) -> float:
    work()
    torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.monotonic() - began) / repeats


def attention_speed(config: TrainConfig, tokens: int, length: int) -> None:
    """Milliseconds of one forward and backward pass over `tokens` tokens, for each back end."""
    rows, model = tokens // length, config.model
    q, k, v = (torch.randn(rows, length, heads, model.head_dim, device="cuda", dtype=torch.bfloat16,
                           requires_grad=True) for heads in (model.heads, model.kv_heads, model.kv_heads))
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        for expand in (False, True):
            def work() -> None:
                a, b, c = (t.transpose(1, 2) for t in (q, k, v))
                if expand:
                    b, c = (t.repeat_interleave(a.shape[1] // t.shape[1], dim=1) for t in (b, c))
                with sdpa_kernel(backend):
                    F.scaled_dot_product_attention(a, b, c, is_causal=True, enable_gqa=not expand).sum().backward()
            try:
                print(f"attention length {length} {backend.name} {'expanded' if expand else 'grouped'}: "
                      f"{seconds(work, 3) * 1e3:.2f} ms", flush=True)
            except RuntimeError as error:
                print(f"attention length {length} {backend.name} expand={expand}: {str(error)[:90]}", flush=True)


def step_speed(config: TrainConfig, tokens: int, lengths: list[int]) -> None:
    """Milliseconds and tokens per second of whole training steps on random tokens."""
    model = Decoder(config.model).cuda()
    optimizers = make_optimizers(model, config.muon_lr, config.adam_lr, config.weight_decay)
    model.compile()
    head = torch.compile(token_losses, dynamic=False)
    targets = torch.randint(config.model.vocabulary, (tokens,), device="cuda")
    for length in lengths:
        ids = torch.randint(config.model.vocabulary, (tokens // length, length), device="cuda")
        positions = torch.arange(length, device="cuda").repeat(tokens // length)

        def work() -> None:
            states, _ = model(ids, positions, torch.bfloat16)
            head(states, model.embed_tokens.weight, targets).mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        began = time.monotonic()
        took = seconds(work, 5)
        print(f"{tokens} tokens, length {length}: {took * 1e3:.1f} ms a step, {tokens / took / 1e3:.0f}k tokens/s, "
              f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB (all {time.monotonic() - began:.1f} s)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(CONFIGS), required=True)
    config = CONFIGS[parser.parse_args().config]
    torch.set_float32_matmul_precision("high")
    for length in (512, 2048, 32768):
        attention_speed(config, 131072, length)
    step_speed(config, 131072, [512, 2048, 8192, 32768, 131072])
    step_speed(config, 65536, [512, 2048, 8192, 32768])


if __name__ == "__main__":
    main()
