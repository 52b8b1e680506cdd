"""Makes chosen feed-forward layers sparser after training: each is refitted to its own outputs, with a price on every
neuron that fires. Layers are fitted one by one on states that the earlier, already refitted ones produce.

    python -m scripts.train.lm.sparsify --weights DIR --corpus FILE --tokenizer FILE --layers 0,1 --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.config import CONFIGS, Phase
from scripts.train.lm.data import Source
from scripts.train.lm.export import load_weights, save_weights
from scripts.train.lm.model import Decoder, linear, rms_norm

#: Rows that the layers are fitted on: half running text, half tasks.
MIXTURE = Phase(2048, 0, 0.5, 0.05, 0.4, 0.05, skip=0.2)


@torch.no_grad()
def layer_inputs(model: Decoder, ids: Tensor, positions: Tensor, layer: int) -> Tensor:
    """The normalised states `[tokens, width]` that enter the layer's feed-forward part."""
    found: list[Tensor] = []
    after = model._after

    def watched(x: Tensor, mixed: Tensor, o: Tensor, gain: Tensor, up: Tensor, *rest) -> tuple[Tensor, Tensor]:
        found.append(rms_norm(x + linear(mixed, o), gain, rest[1]))
        return after(x, mixed, o, gain, up, *rest)

    model._after = watched
    for row, place in zip(ids.split(1), positions.split(1)):
        found_before = len(found)
        model(row, place.reshape(-1), torch.bfloat16)
        found[found_before:] = [found[found_before + layer]]
    model._after = after
    return torch.cat(found)


def refit(model: Decoder, states: Tensor, layer: int, target: float, price: float, steps: int) -> None:
    """Changes the layer's two matrices in place until about `target` of the neurons fire."""
    up, down = model.layers[layer].mlp.up_proj.weight, model.layers[layer].mlp.down_proj.weight
    wanted = F.linear(F.relu(F.linear(states, up.detach().to(states.dtype))).square(), down.detach().to(states.dtype))
    # Relative to each token's own output: a few tokens have outputs hundreds of times the others'.
    scale = wanted.float().square().mean(-1)
    scale += 0.1 * scale.median()
    optimizer = torch.optim.Adam([up, down], lr=5e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, 2 * (1 - step / steps))
        pick = torch.randint(len(states), (2048,))
        before = F.linear(states[pick], up.to(states.dtype))
        given = F.linear(F.relu(before).square(), down.to(states.dtype))
        error = ((given.float() - wanted[pick].float()).square().mean(-1) / scale[pick]).mean()
        wide = before.float()
        firing = torch.sigmoid(wide / (0.1 * wide.detach().std())).mean()
        (error + price * F.relu(firing - target)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step + 1 == steps:
            live = (before > 0).float().mean().item()
            print(f"layer {layer} step {step}: relative error {error.item():.4f}, firing {live:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--layers", default="0,1")
    parser.add_argument("--target", type=float, default=0.22, help="share of neurons that may fire")
    parser.add_argument("--price", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    torch.manual_seed(1)
    model, step = load_weights(a.weights)
    source = Source(a.corpus, Tokenizer.from_file(str(a.tokenizer)), CONFIGS["tiny"])
    batch = source.batch(MIXTURE, 24576, Random(5))
    ids, positions = torch.from_numpy(batch.ids.astype("int64")), torch.from_numpy(batch.positions)
    for layer in (int(text) for text in a.layers.split(",")):
        refit(model, layer_inputs(model, ids, positions, layer), layer, a.target, a.price, a.steps)
    save_weights(model, a.out, step)


if __name__ == "__main__":
    main()
