"""Compares what the engine gives each token of a text with what PyTorch gives it in f32, from the same file.

    deno task dump:qk --data DIR --tokens 16384 --ids ids.u32
    deno run -A scripts/eval/lm/log_probabilities.ts --ids ids.u32 --out engine.f32
    python -m scripts.eval.lm.compare_log_probabilities --model models/sparrow-tiny.gguf --ids ids.u32 --engine engine.f32
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from scripts.convert.read_gguf import Gguf
from scripts.eval.lm.dump_qk import forward, read_ids, rms_norm


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--ids", type=Path, required=True)
    parser.add_argument("--engine", type=Path, required=True)
    a = parser.parse_args()
    gguf, ids = Gguf(a.model), read_ids(a.ids)
    states = forward(gguf, ids, gguf.metadata["arcee.block_count"], lambda *_: None)
    states = rms_norm(states, gguf.tensor("output_norm.weight").to(ids.device),
                      gguf.metadata["arcee.attention.layer_norm_rms_epsilon"])
    # The embedding is tied.
    logits = states[:-1] @ gguf.tensor("token_embd.weight").to(ids.device).T
    own = -F.cross_entropy(logits, ids[1:], reduction="none").cpu().numpy()
    engine = np.fromfile(a.engine, np.float32)
    if engine.shape != own.shape:
        raise ValueError(f"{a.engine}: {len(engine)} tokens, expected {len(own)}")
    difference = np.abs(engine - own)
    for name, part in (("all", slice(None)), ("the last 1,024", slice(-1024, None))):
        print(f"{name}: {len(own[part])} tokens, mean -log p {-own[part].mean():.5f} in PyTorch, {-engine[part].mean():.5f} in the "
              f"engine; difference of a token's {difference[part].mean():.6f} in the mean, {difference[part].max():.6f} at most")


if __name__ == "__main__":
    main()
