"""Makes the golden decoders under tests/golden/models: tiny random `llama` and `arcee` GGUF files in f32, f16 and
Q8_0, each with the logits that Hugging Face transformers computes in f32 for one fixed prompt of 40 tokens.

The reference for f16 and Q8_0 runs on the weights that the file holds once they are dequantised, so an engine that
keeps f32 activations must match to rounding.

    python -m scripts.golden.logits --out tests/golden/models
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import ArceeConfig, ArceeForCausalLM, LlamaConfig, LlamaForCausalLM

from scripts.convert.decoder import DecoderShape, Vocabulary
from scripts.convert.write_gguf import QUANTIZATION, write_gguf

SEED = 20240917
PROMPT_TOKENS = 40
GREEDY_TOKENS = 24

SHAPES = {
    "tiny_llama": DecoderShape("llama", 2, 64, 4, 2, 16, 160, 263, 512, 10000.0, 1e-5),
    "tiny_arcee": DecoderShape("arcee", 2, 128, 4, 2, 64, 192, 263, 2048, 500000.0, 1e-6),
}


def tiny_vocabulary() -> Vocabulary:
    """256 bytes, four merges and three control tokens: 263, a size that no tile divides."""
    merges = ["Ġ t", "h e", "Ġt he", "i n"]
    tokens = sorted(ByteLevel.alphabet()) + [merge.replace(" ", "") for merge in merges]
    first = len(tokens)
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Vocabulary(tokens, merges, {first, first + 1, first + 2}, eos=first, bos=first, end_of_turn=first + 2)


def build_model(shape: DecoderShape) -> torch.nn.Module:
    common = dict(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.context,
        rms_norm_eps=shape.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
        attention_bias=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    if shape.architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**common, mlp_bias=False, tie_word_embeddings=False))
    else:
        model = ArceeForCausalLM(ArceeConfig(**common, mlp_bias=False, hidden_act="relu2", tie_word_embeddings=True))
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            # Gains far from 1 and logits of unit scale, so that a dropped norm or a swapped row cannot hide.
            weight.copy_(1 + 0.3 * noise if weight.ndim == 1 else 1.4 * noise / weight.shape[1] ** 0.5)
    return model.eval()


def rounded(state: dict[str, np.ndarray], quantization: str) -> dict[str, np.ndarray]:
    """The values a file of this quantisation gives back. Row permutations commute with it: blocks lie within rows."""
    kind = QUANTIZATION[quantization]
    return {
        name: gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind) if weight.ndim == 2 else weight
        for name, weight in state.items()
    }


@torch.no_grad()
def reference(model: torch.nn.Module, prompt: list[int]) -> tuple[np.ndarray, list[int]]:
    """Logits `[prompt, vocabulary]` and the greedy continuation."""
    logits = model(torch.tensor([prompt])).logits[0].float().numpy()
    ids = list(prompt)
    for _ in range(GREEDY_TOKENS):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return logits, ids[len(prompt):]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary()
    prompt = np.random.default_rng(SEED).integers(0, len(vocabulary.tokens), PROMPT_TOKENS).tolist()
    greedy: dict[str, list[int]] = {}
    for name, shape in SHAPES.items():
        model = build_model(shape)
        exact = {key: value.numpy().copy() for key, value in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            exact.pop("lm_head.weight", None)
        for quantization in QUANTIZATION:
            stem = f"{name}_{quantization}"
            write_gguf(out / f"{stem}.gguf", stem, shape, vocabulary, exact, quantization)
            weights = {key: torch.from_numpy(value) for key, value in rounded(exact, quantization).items()}
            model.load_state_dict(weights, strict=False)
            model.tie_weights()
            logits, greedy[stem] = reference(model, prompt)
            np.save(out / f"{stem}.logits.npy", logits)
            print(f"{stem}: logits {logits.shape}, std {logits.std():.3f}, greedy {greedy[stem][:8]}")
    (out / "prompt.json").write_text(json.dumps({"prompt": prompt, "greedy": greedy}) + "\n")


if __name__ == "__main__":
    main()
