"""How llama.cpp stores a llama-family decoder's tensors.

Tensor names and the row order of the query and key projections are those of llama.cpp: in `llama`, `arcee`, `smollm3`
and `granite` files rotary pairs lie next to each other (dimension 2i with 2i+1), whereas PyTorch code of this family rotates
dimension i with i + head_dim/2, and so do `qwen2`, `qwen3`, `phi3` and `gemma3` files. In `smollm3` this is so in the layers
that do not rotate, too. A norm's gains are stored as the factors that
they are, whereas PyTorch code of Gemma 3 adds 1 to what it stores.
"""

from __future__ import annotations

import numpy as np

from scripts.convert.decoder import DecoderShape

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}

#: Gemma 3 also normalises what attention and the feed-forward give.
_GEMMA3_LAYER = {
    **_LAYER,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def gguf_names(layers: int, architecture: str = "llama") -> dict[str, str]:
    """The tensors' names in a file by their Hugging Face names; a model need not have all of them."""
    parts = _GEMMA3_LAYER if architecture == "gemma3" else _LAYER
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(layers):
        for source, target in parts.items():
            for part in ("weight", "bias"):
                names[f"model.layers.{layer}.{source}.{part}"] = f"blk.{layer}.{target}.{part}"
    return {**names, "lm_head.weight": "output.weight"}


def gain_offset(name: str, shape: DecoderShape) -> float:
    """What is added to the tensor with this name in a file."""
    return 1.0 if shape.architecture == "gemma3" and name.endswith("norm.weight") else 0.0


def rotary_heads(name: str, shape: DecoderShape) -> int:
    """Heads of the projection with this Hugging Face name, if its rows are reordered; 0 otherwise."""
    if shape.architecture not in ("llama", "arcee", "smollm3", "granite"):
        return 0
    return {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(name.split(".")[-2], 0)


def interleave_rope_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders `[heads * head_dim, width]` rows, or a bias, from the rotate-half layout to the interleaved one."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weight.shape)


def separate_rope_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `interleave_rope_rows`."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)
