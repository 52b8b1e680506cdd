"""Makes the golden decoders under tests/golden/models: tiny random `llama`, `arcee`, `qwen2`, `qwen3`, `phi3`, `gemma3`,
`smollm3` and `granite` GGUF files in f32, f16, Q8_0 and Q4_0, each with the logits that Hugging Face transformers computes in f32
for one fixed prompt of 40 tokens (200 that begin with these for `gemma3`, as its windows are of up to 100); embeddings.json, the mean
and the last of the prompt's final hidden states, of unit length; and rope_yarn.json, what it makes of YaRN's parameters.

The reference for all but f32 runs on the weights that the file holds once they are dequantised, so an engine that
keeps f32 activations must match to rounding.

`scripts.golden.check_llama_cpp` compares llama.cpp's greedy text of the same files with what is written here.

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
from transformers import (
    ArceeConfig,
    ArceeForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from scripts.convert.decoder import DecoderShape, LocalAttention, LongScaling, Scales, Vocabulary, YarnScaling
from scripts.convert.write_gguf import QUANTIZATION, write_gguf

SEED = 20240917
PROMPT_TOKENS = 40
#: Three pages of 64 tokens and a part of a fourth.
LONG_PROMPT_TOKENS = 200
GREEDY_TOKENS = 24

#: Twelve of sixteen dimensions rotate; the prompt of 40 tokens is within one original context and beyond the other.
LONG = {"short": (1.0, 1.05, 1.2, 1.5, 2.0, 2.2), "long": (1.0, 1.3, 2.5, 6.0, 9.0, 14.0)}

SHAPES = {
    "tiny_llama": DecoderShape("llama", 2, 64, 4, 2, 16, 160, 263, 512, 10000.0, 1e-5),
    "tiny_arcee": DecoderShape("arcee", 2, 128, 4, 2, 64, 192, 263, 2048, 500000.0, 1e-6),
    "tiny_qwen2": DecoderShape("qwen2", 2, 64, 4, 2, 16, 160, 263, 512, 1000000.0, 1e-6),
    # Frequencies 0 to 3 of 8 are blended, the others divided by 4.
    "tiny_qwen2_yarn": DecoderShape("qwen2", 2, 64, 4, 2, 16, 160, 263, 128, 10000.0, 1e-6, YarnScaling(4.0, 128)),
    # Heads as large as the real ones': four times as wide as the residual stream.
    "tiny_qwen3": DecoderShape("qwen3", 2, 32, 4, 2, 128, 64, 263, 512, 1000000.0, 1e-6),
    "tiny_phi3": DecoderShape("phi3", 2, 64, 4, 2, 16, 160, 263, 256, 10000.0, 1e-5,
                              longrope=LongScaling(32, **LONG), rope_dimensions=12),
    "tiny_phi3_short": DecoderShape("phi3", 2, 64, 4, 2, 16, 160, 263, 256, 10000.0, 1e-5,
                                    longrope=LongScaling(128, **LONG), rope_dimensions=12),
    # Layers 0 and 2 are local, 1 is global.
    "tiny_gemma3": DecoderShape("gemma3", 3, 64, 4, 2, 32, 64, 263, 512, 1000000.0, 1e-6,
                                local=LocalAttention(37, 2, 5000.0)),
    # Layers 0 to 4 and 6 are local, 5 is global, as where a file does not say which.
    "tiny_gemma3_q8_0": DecoderShape("gemma3", 7, 64, 4, 1, 64, 96, 263, 512, 1000000.0, 1e-6,
                                     local=LocalAttention(100), rope_linear=8.0),
    # Layer 3 does not rotate.
    "tiny_smollm3": DecoderShape("smollm3", 5, 64, 4, 2, 16, 96, 263, 512, 2000000.0, 1e-6),
    "tiny_granite": DecoderShape("granite", 3, 64, 4, 1, 16, 160, 263, 512, 10000.0, 1e-5,
                                 scales=Scales(12.0, 0.22, 0.015625, 8.0)),
}
#: An architecture's own arithmetic does not depend on the weights' type. A name may give the type that a shape is for.
QUANTIZATIONS = {"tiny_llama": ["f32", "f16", "q8_0"], "tiny_arcee": ["f32", "f16", "q8_0", "q4_0"],
                 "tiny_qwen2": ["f32", "q8_0"], "tiny_qwen2_yarn": ["f32"],
                 "tiny_qwen3": ["f32", "q8_0"], "tiny_phi3": ["f32"], "tiny_phi3_short": ["q8_0"],
                 "tiny_gemma3": ["f32"], "tiny_gemma3_q8_0": ["q8_0"],
                 "tiny_smollm3": ["q8_0"], "tiny_granite": ["q8_0"]}

#: Head dimension, base and the parameters of YaRN as Qwen 2.5 has them, and with every option.
YARN = (
    (128, 1000000.0, {"factor": 4.0, "original_max_position_embeddings": 32768}),
    (64, 10000.0, {"factor": 16.0, "original_max_position_embeddings": 4096, "beta_fast": 24.0, "beta_slow": 2.0,
                   "attention_factor": 1.1}),
)


def tiny_vocabulary() -> Vocabulary:
    """256 bytes, four merges and three control tokens: 263, a size that no tile divides."""
    merges = ["Ġ t", "h e", "Ġt he", "i n"]
    tokens = sorted(ByteLevel.alphabet()) + [merge.replace(" ", "") for merge in merges]
    first = len(tokens)
    tokens += ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return Vocabulary(tokens, merges, {first, first + 1, first + 2}, eos=first, bos=first, end_of_turn=first + 2)


def rope_parameters(shape: DecoderShape) -> dict[str, float | int | str | list[float] | dict[str, float | str]]:
    if shape.local:
        linear = {"rope_type": "linear", "factor": shape.rope_linear}
        scaling = {"rope_type": "default"} if shape.rope_linear == 1 else linear
        return {
            "full_attention": {**scaling, "rope_theta": shape.rope_base},
            "sliding_attention": {"rope_type": "default", "rope_theta": shape.local.rope_base},
        }
    if shape.longrope:
        return {
            "rope_type": "longrope",
            "rope_theta": shape.rope_base,
            "original_max_position_embeddings": shape.longrope.original_context,
            "partial_rotary_factor": (shape.rope_dimensions or shape.head_dim) / shape.head_dim,
            "short_factor": list(shape.longrope.short),
            "long_factor": list(shape.longrope.long),
        }
    if not shape.yarn:
        return {"rope_type": "default", "rope_theta": shape.rope_base}
    return {
        "rope_type": "yarn",
        "rope_theta": shape.rope_base,
        "factor": shape.yarn.factor,
        "original_max_position_embeddings": shape.yarn.original_context,
    }


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
        rope_parameters=rope_parameters(shape),
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    match shape.architecture:
        case "llama":
            plain = dict(attention_bias=False, mlp_bias=False)
            model = LlamaForCausalLM(LlamaConfig(**common, **plain, tie_word_embeddings=False))
        case "arcee":
            plain = dict(attention_bias=False, mlp_bias=False)
            model = ArceeForCausalLM(ArceeConfig(**common, **plain, hidden_act="relu2", tie_word_embeddings=True))
        case "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**common, tie_word_embeddings=True))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**common, attention_bias=False, tie_word_embeddings=True))
        case "phi3":
            original = shape.longrope.original_context if shape.longrope else shape.context
            model = Phi3ForCausalLM(Phi3Config(**common, original_max_position_embeddings=original, pad_token_id=None,
                                               sliding_window=None, tie_word_embeddings=False))
        case "gemma3":
            assert shape.local
            kinds = ["full_attention" if (layer + 1) % shape.local.pattern == 0 else "sliding_attention"
                     for layer in range(shape.layers)]
            model = Gemma3ForCausalLM(Gemma3TextConfig(**common, query_pre_attn_scalar=shape.head_dim, pad_token_id=None,
                                                       sliding_window=shape.local.tokens, layer_types=kinds))
        case "smollm3":
            model = SmolLM3ForCausalLM(SmolLM3Config(**common, no_rope_layer_interval=4, pad_token_id=None,
                                                     tie_word_embeddings=True))
        case "granite":
            assert shape.scales
            model = GraniteForCausalLM(GraniteConfig(**common, embedding_multiplier=shape.scales.embedding,
                                                     residual_multiplier=shape.scales.residual,
                                                     attention_multiplier=shape.scales.attention,
                                                     logits_scaling=shape.scales.logits, tie_word_embeddings=False))
        case other:
            raise ValueError(f"architecture is {other}, expected llama, arcee, qwen2, qwen3, phi3, gemma3, smollm3 or granite")

    def gain(name: str) -> float:
        """The mean of a norm's weights."""
        if shape.architecture != "gemma3":
            return 1.0
        # Transformers adds 1 itself. As embeddings are tied, layers must add much, or every token is followed by itself.
        return {"post_attention_layernorm": 2.0, "post_feedforward_layernorm": 6.0}.get(name.split(".")[-2], 0.0)

    def spread(name: str) -> float:
        """What the standard deviation of a matrix' product with numbers of unit size is."""
        if shape.architecture != "granite":
            return 1.4
        # With scores and sums so small, attention must choose and layers add much for the text to hang on what came before.
        part = name.split(".")[-2]
        return {"q_proj": 4.0, "k_proj": 4.0, "v_proj": 5.0, "o_proj": 5.0, "down_proj": 5.0}.get(part, 1.4)

    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            # Gains far from 1, biases far from 0 and logits of unit scale, so that a dropped norm or bias or a swapped row
            # cannot hide.
            if name.endswith(".bias"):
                weight.copy_(noise)
            else:
                weight.copy_(gain(name) + 0.3 * noise if weight.ndim == 1 else spread(name) * noise / weight.shape[1] ** 0.5)
    return model.eval()


def rounded(state: dict[str, np.ndarray], quantization: str) -> dict[str, np.ndarray]:
    """The values a file of this quantisation gives back. Row permutations commute with it: blocks lie within rows."""
    kind = QUANTIZATION[quantization]
    return {
        name: gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind) if weight.ndim == 2 else weight
        for name, weight in state.items()
    }


def yarn_vectors() -> list[dict[str, object]]:
    """Angles a position of each rotated pair and the magnitude of cos and sin."""
    rows = []
    for head_dim, base, yarn in YARN:
        parameters = {"rope_type": "yarn", "rope_theta": base, **yarn}
        config = Qwen2Config(hidden_size=head_dim, num_attention_heads=1, rope_parameters=parameters,
                             max_position_embeddings=yarn["original_max_position_embeddings"])
        frequencies, magnitude = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))
        rows.append({"dimensions": head_dim, "base": base, **yarn, "magnitude": magnitude,
                     "frequencies": frequencies.tolist()})
    return rows


@torch.no_grad()
def reference(model: torch.nn.Module, prompt: list[int]) -> tuple[np.ndarray, list[int]]:
    """Logits `[prompt, vocabulary]` and the greedy continuation."""
    logits = model(torch.tensor([prompt])).logits[0].float().numpy()
    ids = list(prompt)
    for _ in range(GREEDY_TOKENS):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return logits, ids[len(prompt):]


@torch.no_grad()
def embeddings(model: torch.nn.Module, prompt: list[int]) -> dict[str, list[float]]:
    """Unit vectors by pooling: from the hidden states behind the last norm."""
    states = model.model(torch.tensor([prompt])).last_hidden_state[0].double()
    pooled = {"mean": states.mean(dim=0), "last": states[-1]}
    return {name: [float(f"{x:.7g}") for x in vector / vector.norm()] for name, vector in pooled.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary()
    long_prompt = np.random.default_rng(SEED).integers(0, len(vocabulary.tokens), LONG_PROMPT_TOKENS).tolist()
    prompt = long_prompt[:PROMPT_TOKENS]
    long_models: list[str] = []
    greedy: dict[str, list[int]] = {}
    embedded: dict[str, dict[str, list[float]]] = {}
    for name, shape in SHAPES.items():
        model = build_model(shape)
        exact = {key: value.numpy().copy() for key, value in model.state_dict().items()}
        if model.config.tie_word_embeddings:
            exact.pop("lm_head.weight", None)
        for quantization in QUANTIZATIONS[name]:
            stem = f"{name.removesuffix(f'_{quantization}')}_{quantization}"
            write_gguf(out / f"{stem}.gguf", stem, shape, vocabulary, exact, quantization)
            weights = {key: torch.from_numpy(value) for key, value in rounded(exact, quantization).items()}
            model.load_state_dict(weights, strict=False)
            model.tie_weights()
            if shape.local:
                long_models.append(stem)
            logits, greedy[stem] = reference(model, long_prompt if shape.local else prompt)
            np.save(out / f"{stem}.logits.npy", logits)
            embedded[stem] = embeddings(model, long_prompt if shape.local else prompt)
            print(f"{stem}: logits {logits.shape}, std {logits.std():.3f}, greedy {greedy[stem][:8]}")
    (out / "prompt.json").write_text(json.dumps({"prompt": prompt, "long_prompt": long_prompt, "long": long_models,
                                                  "greedy": greedy}) + "\n")
    (out / "embeddings.json").write_text(json.dumps(embedded) + "\n")
    (out / "rope_yarn.json").write_text(json.dumps(yarn_vectors()) + "\n")


if __name__ == "__main__":
    main()
