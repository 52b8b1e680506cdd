"""Turns a checkpoint into safetensors shards (f16, each under 15 MiB) and into GGUF, and reads both."""

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

from scripts.convert.gguf_layout import gguf_names, rotary_heads, separate_rope_rows
from scripts.convert.read_gguf import Gguf
from scripts.train.lm.model import Decoder
from scripts.train.lm.model_config import ModelConfig

SHARD_BYTES = 15 << 20
_SCALES = ".scales"


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


def load_weights(source: Path) -> tuple[Decoder, int]:
    """The model saved by `save_weights` or `save_bytes`, on the CPU in f32, and the step it was saved at; or that of a
    GGUF file, which says nothing of steps: 0."""
    if source.is_file():
        return load_gguf(source), 0
    folder = source
    saved = json.loads((folder / "config.json").read_text())
    model = Decoder(ModelConfig(**saved["model"]))
    state: dict[str, Tensor] = {}
    for shard in sorted(folder.glob("weights-*.safetensors")):
        state.update(load_file(shard))
    for name in [name for name in state if name.endswith(_SCALES)]:
        whole = name.removesuffix(_SCALES)
        blocks = state[whole].float().view(*state[name].shape, -1)
        state[whole] = (blocks * state.pop(name).float()[..., None]).view_as(state[whole])
    model.load(state)
    return model, saved["step"]


def load_gguf(path: Path) -> Decoder:
    """The model of a file written by `export_gguf`, on the CPU in f32."""
    gguf = Gguf(path)
    get = lambda key: gguf.metadata[f"arcee.{key}"]  # noqa: E731
    embedding = gguf.tensor("token_embd.weight")
    model = Decoder(ModelConfig(
        len(embedding), get("embedding_length"), get("block_count"), get("attention.head_count"),
        get("attention.head_count_kv"), get("feed_forward_length"), get("context_length"), get("rope.freq_base"),
        get("attention.key_length"), get("attention.layer_norm_rms_epsilon")))
    state: dict[str, Tensor] = {}
    for source, target in gguf_names(model.config.layers).items():
        if target in gguf.tensors:
            value, heads = gguf.tensor(target), rotary_heads(source, model.config.shape())
            state[source] = torch.from_numpy(separate_rope_rows(value.numpy(), heads)) if heads else value
    model.load(state)
    return model


def save_bytes(model: Decoder, folder: Path, step: int) -> None:
    """Writes the weights in half the room, to be trained on: matrices in signed bytes, a scale for every 32 of a row."""
    state: dict[str, Tensor] = {}
    for name, value in model.state().items():
        value = value.detach().float().cpu()
        if value.ndim < 2:
            state[name] = value
            continue
        blocks = value.view(value.shape[0], -1, 32)
        scales = (blocks.abs().amax(-1) / 127).clamp(min=1e-6).half()
        state[name] = (blocks / scales.float()[..., None]).round().clamp(-127, 127).to(torch.int8).view_as(value)
        state[name + _SCALES] = scales
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "weights-0.safetensors")
    (folder / "config.json").write_text(json.dumps({"model": asdict(model.config), "step": step}, indent=1) + "\n")


def export_gguf(model: Decoder, tokenizer: Tokenizer, path: Path, name: str, quantization: str) -> None:
    """Writes the model and its tokenizer as one GGUF file."""
    from scripts.convert.write_gguf import write_gguf
    from scripts.train.lm.tokenizer import gguf_vocabulary

    state = {key: value.detach().float().cpu().numpy().astype(np.float32) for key, value in model.state().items()}
    metadata = {"license": "mit", "description": f"{name}: a small long-context language model"}
    write_gguf(path, name, model.config.shape(), gguf_vocabulary(tokenizer), state, quantization, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder written by the trainer, or GGUF file")
    parser.add_argument("--tokenizer", type=Path, help="for GGUF")
    parser.add_argument("--name", help="for GGUF")
    parser.add_argument("--quantization", default="q8_0", choices=["f32", "f16", "q8_0", "bytes"],
                        help="of the GGUF file; bytes: instead a folder of half the size to resume training from")
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    model, step = load_weights(a.weights)
    if a.quantization == "bytes":
        save_bytes(model, a.out, step)
        return
    if a.tokenizer is None or a.name is None:
        parser.error("GGUF needs --tokenizer and --name")
    export_gguf(model, Tokenizer.from_file(str(a.tokenizer)), a.out, a.name, a.quantization)
    print(f"{a.out}: step {step}, {sum(p.numel() for p in model.parameters())} parameters, {a.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
