"""Turns a checkpoint into safetensors shards (f16, each under 15 MiB) and into GGUF."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.model import Decoder, ModelConfig

SHARD_BYTES = 15 << 20


def save_weights(model: Decoder, folder: Path, step: int) -> None:
    """Writes `weights-<n>.safetensors` and `config.json` under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights-*.safetensors"):
        old.unlink()
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, value in model.state().items():
        half = value.detach().to("cpu", torch.float16).contiguous()
        if used + half.nbytes > SHARD_BYTES:
            shards.append({})
            used = 0
        shards[-1][name] = half
        used += half.nbytes
    for index, shard in enumerate(shards):
        save_file(shard, folder / f"weights-{index}.safetensors")
    (folder / "config.json").write_text(json.dumps({"model": asdict(model.config), "step": step}, indent=1) + "\n")


def load_weights(folder: Path) -> tuple[Decoder, int]:
    """The model saved by `save_weights`, on the CPU in f32, and the step it was saved at."""
    saved = json.loads((folder / "config.json").read_text())
    model = Decoder(ModelConfig(**saved["model"]))
    state: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("weights-*.safetensors")):
        state.update(load_file(shard))
    model.load(state)
    return model, saved["step"]


def export_gguf(model: Decoder, tokenizer: Tokenizer, path: Path, name: str, quantization: str) -> None:
    """Writes the model and its tokenizer as one GGUF file."""
    from scripts.convert.write_gguf import write_gguf
    from scripts.train.lm.tokenizer import gguf_vocabulary

    state = {key: value.detach().float().cpu().numpy().astype(np.float32) for key, value in model.state().items()}
    metadata = {"license": "mit", "description": f"{name}: a small long-context language model"}
    write_gguf(path, name, model.config.shape(), gguf_vocabulary(tokenizer), state, quantization, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder written by the trainer")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--quantization", default="q8_0", choices=["f32", "f16", "q8_0"])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, step = load_weights(arguments.weights)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    export_gguf(model, tokenizer, arguments.out, arguments.name, arguments.quantization)
    print(f"{arguments.out}: step {step}, {sum(p.numel() for p in model.parameters())} parameters, "
          f"{arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
