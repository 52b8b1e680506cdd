"""Writes a llama-family decoder (`llama`, `arcee`, `qwen2`, `qwen3`, `phi3`, `gemma3`, `smollm3` or `granite`) as a GGUF file."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np

from scripts.convert.decoder import DecoderShape, LocalAttention, Vocabulary
from scripts.convert.gguf_layout import gain_offset, gguf_names, interleave_rope_rows, rotary_heads

QUANTIZATION = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}
FILE_TYPE = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def gguf_tensors(state: dict[str, np.ndarray], shape: DecoderShape) -> dict[str, np.ndarray]:
    """Renames a Hugging Face style state dict, permutes its rotary projections and makes its gains factors."""
    tensors = {}
    for source, target in gguf_names(shape.layers, shape.architecture).items():
        if source in state:
            heads = rotary_heads(source, shape)
            weight = interleave_rope_rows(state[source], heads) if heads else state[source]
            offset = gain_offset(target, shape)
            tensors[target] = weight + np.float32(offset) if offset else weight
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
    """Writes `path`. Matrices take `quantization` (f32, f16, q8_0 or q4_0); norms and biases stay f32."""
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
    writer.add_rope_dimension_count(shape.rope_dimensions or shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    if shape.yarn:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(shape.yarn.factor)
        writer.add_rope_scaling_orig_ctx_len(shape.yarn.original_context)
    if shape.longrope:
        # As llama.cpp's conversion of phi3 does: the context and the magnitude, and no type.
        original = shape.longrope.original_context
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(shape.context / original) / math.log(original)))
    if shape.rope_linear != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(shape.rope_linear)
    if shape.local:
        writer.add_sliding_window(shape.local.tokens)
        # Files need to have neither of these where they are as in the real models.
        if shape.local.pattern != LocalAttention.pattern:
            writer.add_sliding_window_pattern(shape.local.pattern)
        if shape.local.rope_base != LocalAttention.rope_base:
            writer.add_rope_freq_base_swa(shape.local.rope_base)
    if shape.scales:
        writer.add_embedding_scale(shape.scales.embedding)
        writer.add_residual_scale(shape.scales.residual)
        writer.add_attention_scale(shape.scales.attention)
        writer.add_logit_scale(shape.scales.logits)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    _add_vocabulary(writer, vocabulary, "qwen2" if shape.architecture.startswith("qwen") else "gpt-2")
    if shape.longrope:
        for part in ("long", "short"):
            writer.add_tensor(f"rope_factors_{part}.weight", np.array(getattr(shape.longrope, part), np.float32))
    for tensor_name, weight in gguf_tensors(state, shape).items():
        weight = np.ascontiguousarray(weight, dtype=np.float32)
        kind = QUANTIZATION[quantization] if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor_name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary, pretokenizer: str) -> None:
    def token_type(index: int) -> gguf.TokenType:
        if index in vocabulary.unused:
            return gguf.TokenType.UNUSED
        return gguf.TokenType.CONTROL if index in vocabulary.special else gguf.TokenType.NORMAL

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pretokenizer)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([token_type(i) for i in range(len(vocabulary.tokens))])
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_eot_token_id(vocabulary.end_of_turn)
    writer.add_add_bos_token(False)
    if vocabulary.chat_template is not None:
        writer.add_chat_template(vocabulary.chat_template)
