"""Writes a llama-family decoder (`llama` or `arcee`) as a GGUF file.

Tensor names and the row order of the query and key projections are those of llama.cpp: rotary pairs lie next to
each other (dimension 2i with 2i+1), whereas PyTorch code of this family rotates dimension i with i + head_dim/2.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from scripts.convert.decoder import DecoderShape, Vocabulary

QUANTIZATION = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
FILE_TYPE = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


def interleave_rope_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorders `[heads * head_dim, width]` rows from the rotate-half layout to the interleaved one."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def gguf_tensors(state: dict[str, np.ndarray], shape: DecoderShape) -> dict[str, np.ndarray]:
    """Renames a Hugging Face style state dict and permutes its rotary projections."""
    names = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(shape.layers):
        for source, target in names.items():
            key = f"model.layers.{layer}.{source}.weight"
            if key not in state:
                continue
            weight = state[key]
            if target == "attn_q":
                weight = interleave_rope_rows(weight, shape.heads)
            elif target == "attn_k":
                weight = interleave_rope_rows(weight, shape.kv_heads)
            tensors[f"blk.{layer}.{target}.weight"] = weight
    if "lm_head.weight" in state:
        tensors["output.weight"] = state["lm_head.weight"]
    return tensors


def write_gguf(
    path: Path,
    name: str,
    shape: DecoderShape,
    vocabulary: Vocabulary,
    state: dict[str, np.ndarray],
    quantization: str,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes `path`. Matrices take `quantization` (f32, f16 or q8_0); norms stay f32."""
    if len(vocabulary.tokens) != shape.vocabulary:
        raise ValueError(f"{path}: {len(vocabulary.tokens)} tokens, but the embedding has {shape.vocabulary} rows")
    writer = gguf.GGUFWriter(path, shape.architecture)
    writer.add_name(name)
    for key, value in (metadata or {}).items():
        writer.add_string(f"general.{key}", value)
    writer.add_file_type(FILE_TYPE[quantization])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    _add_vocabulary(writer, vocabulary)
    for tensor_name, weight in gguf_tensors(state, shape).items():
        weight = np.ascontiguousarray(weight, dtype=np.float32)
        kind = QUANTIZATION[quantization] if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor_name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    def token_type(index: int) -> gguf.TokenType:
        if index in vocabulary.unused:
            return gguf.TokenType.UNUSED
        return gguf.TokenType.CONTROL if index in vocabulary.special else gguf.TokenType.NORMAL

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([token_type(i) for i in range(len(vocabulary.tokens))])
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_eot_token_id(vocabulary.end_of_turn)
    writer.add_add_bos_token(False)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)
